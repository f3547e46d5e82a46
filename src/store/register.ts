/** The register of expected nodes: which there must be, since when, and which are no longer. */
import type { Kysely } from 'kysely';
import type { DialectName } from './ddl.ts';
import { upsertRows } from './rows.ts';
import type { Store } from './store.ts';
import type { Tables } from './tables.ts';
import { fromStored, storedDate } from './times.ts';

/** A node that is expected, or was. Times are RFC 3339. */
export interface ExpectedNode {
  readonly node: string;
  /** By its newest batch; before the first one, what it was added as, else its id. */
  readonly host: string;
  /** `contact`: it reported; `added`: a person said that it must. */
  readonly how: string;
  readonly since: string;
  /** When it was taken out of use, by the centre's clock. */
  readonly retired: string | null;
  readonly reason: string | null;
  /** When its oldest and newest batches were made; null when none has come. */
  readonly firstSeen: string | null;
  readonly lastSeen: string | null;
}

/** Enters nodes that have reported and are not in the register. `now`: as stored. */
export async function registerContacts(
  db: Kysely<Tables>,
  dialect: DialectName,
  nodes: readonly string[],
  now: string,
): Promise<void> {
  const rows = nodes.map((node) => ({ node, host: null, how: 'contact', since: now }));
  await upsertRows(db, dialect, 'register', rows, { keys: ['node'], update: [] });
}

/** Every node of the register, by host name. */
export async function expectedNodes(store: Pick<Store, 'db'>): Promise<ExpectedNode[]> {
  const rows = await store.db
    .selectFrom('register as r')
    .leftJoin('nodes as n', 'n.node', 'r.node')
    .select(['r.node', 'r.host as added_host', 'r.how', 'r.since', 'r.retired', 'r.reason'])
    .select(['n.host', 'n.first_seen', 'n.last_seen'])
    .execute();
  const time = (stored: string | null): string | null => stored && fromStored(stored);
  return rows
    .map((row) => ({
      node: row.node,
      host: row.host ?? row.added_host ?? row.node,
      how: row.how,
      since: fromStored(row.since),
      retired: time(row.retired),
      reason: row.reason,
      firstSeen: time(row.first_seen),
      lastSeen: time(row.last_seen),
    }))
    .sort((a, b) => (a.host === b.host ? (a.node < b.node ? -1 : 1) : a.host < b.host ? -1 : 1));
}

/** Enters a node as expected, and takes back one that was retired. Where no host name is given, the one that it has stays. */
export async function addNode(
  store: Store,
  node: string,
  host: string | undefined,
  now: Date,
): Promise<void> {
  const row = {
    node,
    host: host ?? null,
    how: 'added',
    since: storedDate(now),
    retired: null,
    reason: null,
  };
  await upsertRows(store.db, store.dialect, 'register', [row], {
    keys: ['node'],
    update: ['retired', 'reason', ...(host === undefined ? [] : (['host'] as const))],
  });
}

/** Takes a node out of use from `now` on. */
export async function retireNode(
  store: Store,
  node: string,
  reason: string | undefined,
  now: Date,
): Promise<void> {
  await store.db
    .updateTable('register')
    .set({ retired: storedDate(now), reason: reason ?? null })
    .where('node', '=', node)
    .execute();
}
