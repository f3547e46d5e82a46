/** The handler that loads batches into a store; the same on a node (straight into the centre's database) and in the centre. */
import { readPassword } from '../config/named-file.ts';
import { adviceOf, DsacError, reasonOf } from '../errors.ts';
import type { Store } from '../store/store.ts';
import { isFileTrouble } from './file-trouble.ts';
import {
  type Answer,
  DELIVERED,
  DestinationDown,
  type HandlerContext,
  type Parcel,
  type Session,
  type StoreAddress,
} from './handler.ts';

/** The trouble of the store `where` as a handler tells it; anything else as it is. */
function asDown(error: unknown, where: string): unknown {
  if (isFileTrouble(error)) return new DestinationDown(`${where}: ${reasonOf(error)}`, { cause: error });
  if (!(error instanceof DsacError) || error.kind !== 'unavailable') return error;
  return new DestinationDown(adviceOf(error), { cause: error });
}

/** A batch that the store will never take answers for itself; among several, the runner finds out which by trying each alone. */
async function load(store: Store, parcels: readonly Parcel[]): Promise<Answer[]> {
  try {
    await store.load(parcels.map(({ batch }) => batch));
    return parcels.map(() => DELIVERED);
  } catch (error) {
    if (error instanceof DsacError && error.kind === 'data' && parcels.length === 1)
      return [{ status: 'rejected', reason: error.message }];
    throw asDown(error, `the store ${store.label}`);
  }
}

/** Opens the store at `address` and loads what is delivered: each group is one transaction. */
export async function openStoreSession(
  address: StoreAddress,
  { paths }: Pick<HandlerContext, 'paths'>,
): Promise<Session> {
  const { openStore } = await import('../store/store.ts');
  const { url, password_file } = address;
  const password = await readPassword(paths.home, password_file);
  try {
    const store = await openStore(url, { home: paths.home, password });
    return { deliver: (parcels) => load(store, parcels), close: () => store.close() };
  } catch (error) {
    throw asDown(error, 'the store');
  }
}
