/** What `dsac verify` is to check: everything of this home, or the paths that were given. */
import { existsSync, readdirSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import type { Config } from '../../config/load.ts';
import type { Paths } from '../../config/paths.ts';
import { configuredPosts } from '../configured.ts';
import { type Post, wants } from '../post.ts';
import type { ArchiveTask, Verification } from './verify.ts';

type Subject = Pick<Verification, 'archive' | 'files' | 'store'>;

function rootOf(post: Post, paths: Paths): string {
  const { path } = post.options as { readonly path: string };
  return isAbsolute(path) ? path : join(paths.home, path);
}

/** Whether a folder is an archive: it has an index, or its folders are years. */
function isArchive(path: string): boolean {
  if (existsSync(join(path, 'index.db'))) return true;
  try {
    return readdirSync(path).some((name) => /^\d{4}$/.test(name));
  } catch {
    return false;
  }
}

/** Whether any of some posts takes an agent's batches. */
function anyWants(posts: readonly Post[]): (agent: string) => boolean {
  return (agent) => posts.some((post) => wants(post, agent));
}

/** Where reports read, when it can be looked at without making it. A note otherwise. */
async function storeOf(
  config: Config,
  paths: Paths,
  posts: readonly Post[],
  notes: string[],
): Promise<Verification['store']> {
  const loaders = posts.filter(
    ({ handler, options }) => handler.name === 'store' && (options as { url?: string }).url === undefined,
  );
  if (loaders.length === 0) return undefined;
  const { DEFAULT_STORE_URL, parseStoreUrl } = await import('../../store/url.ts');
  const { url, password_file } = config.store ?? {};
  const target = parseStoreUrl(url ?? DEFAULT_STORE_URL, paths.home);
  if (target.dialect === 'sqlite' && !existsSync(target.path)) {
    notes.push(`the store was not checked: there is no ${target.path}`);
    return undefined;
  }
  return {
    expects: anyWants(loaders),
    open: async () => {
      const { openStore } = await import('../../store/store.ts');
      const { readPassword } = await import('../../config/named-file.ts');
      const password = await readPassword(paths.home, password_file);
      return openStore(url, { home: paths.home, password, existing: true });
    },
  };
}

/** The subjects of one run: each archive by itself, and all other files together. `notes` hears what is left out. */
export async function subjectsOf(
  config: Config,
  paths: Paths,
  given: readonly string[],
  notes: string[],
): Promise<Subject[]> {
  if (given.length > 0) {
    const archives = given.filter(isArchive).map((root): ArchiveTask => ({ root, expects: () => true }));
    const files = given.filter((path) => !isArchive(path));
    return [...archives.map((archive) => ({ archive, files: [] })), ...(files.length > 0 ? [{ files }] : [])];
  }
  const posts = await configuredPosts(config, 'processors', []);
  const roots = Map.groupBy(
    posts.filter(({ handler }) => handler.name === 'archive'),
    (post) => rootOf(post, paths),
  );
  const store = await storeOf(config, paths, posts, notes);
  return [...roots].map(([root, keepers]) => ({
    archive: { root, expects: anyWants(keepers) },
    files: [],
    store,
  }));
}
