/** Opens the store that the configuration names, or the embedded one. */
import type { Store } from '../store/store.ts';
import type { Setting } from './setting.ts';

/** `existing`: throws an `unavailable` error where there is no store yet, instead of making one. The caller closes it. */
export async function openConfiguredStore(
  { config, paths }: Setting,
  { existing }: { readonly existing: boolean },
): Promise<Store> {
  const { openStore } = await import('../store/store.ts');
  const { readPassword } = await import('../config/named-file.ts');
  const { url, password_file } = config.store ?? {};
  const password = await readPassword(paths.home, password_file);
  return openStore(url, { home: paths.home, password, existing });
}
