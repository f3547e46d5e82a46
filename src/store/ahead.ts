/**
 * Keeps `ahead`: times that the centre had not reached when it was told of them. Transport only makes a batch older, so that a time ahead of its
 * loading proves that a clock runs ahead (the node's, or else the centre's behind), by that much at least. A clock that is behind proves nothing.
 */
import type { Kysely, Selectable } from 'kysely';
import type { DialectName } from './ddl.ts';
import type { FreshBatch } from './items.ts';
import { inPieces, upsertRows } from './rows.ts';
import type { Tables } from './tables.ts';
import { storedMs, toStored } from './times.ts';
import type { Told } from './told.ts';

/** Up to this, clocks are taken to agree. */
const AHEAD_MS = 120_000;

export type AheadRow = Selectable<Tables['ahead']>;

const least = (a: string, b: string): string => (a < b ? a : b);
const most = (a: string, b: string): string => (a > b ? a : b);

/** By how much a time was ahead of its arrival, both as stored, in ms; 0 when clocks may agree. */
function aheadBy(told: string, loaded: string): number {
  const ahead = storedMs(told) - storedMs(loaded);
  return ahead > AHEAD_MS ? ahead : 0;
}

/** Adds up what was told ahead of time, per agent on a node and day of loading. */
export class AheadTally {
  readonly #rows = new Map<string, AheadRow>();

  /** Takes rows that were counted before. */
  constructor(known: readonly AheadRow[] = []) {
    for (const row of known) this.#rows.set(`${row.node} ${row.agent} ${row.day}`, row);
  }

  /** Counts a batch whose latest time is `told` and that came at `loaded`, both as stored, when clocks cannot agree. */
  add(
    { node, agent }: { readonly node: string; readonly agent: string },
    told: string,
    loaded: string,
  ): void {
    const ahead = aheadBy(told, loaded);
    if (ahead === 0) return;
    const day = loaded.slice(0, 10);
    const key = `${node} ${agent} ${day}`;
    const known = this.#rows.get(key);
    this.#rows.set(key, {
      node,
      agent,
      day,
      batches: (known?.batches ?? 0) + 1,
      ahead_ms: Math.max(known?.ahead_ms ?? 0, ahead),
      first_loaded: least(known?.first_loaded ?? loaded, loaded),
      last_loaded: most(known?.last_loaded ?? loaded, loaded),
      first_told: least(known?.first_told ?? told, told),
      last_told: most(known?.last_told ?? told, told),
    });
  }

  rows(): AheadRow[] {
    return [...this.#rows.values()];
  }
}

/** Counts new batches that came at `now`, as stored, and what they have told. */
export async function loadAhead(
  db: Kysely<Tables>,
  dialect: DialectName,
  fresh: readonly FreshBatch[],
  seen: Told,
  now: string,
): Promise<void> {
  const told = fresh
    .map((one) => ({ owner: one.batch.header, told: toStored(seen.latestOf(one)) }))
    .filter((one) => aheadBy(one.told, now) > 0);
  if (told.length === 0) return;
  const known: AheadRow[] = [];
  for (const nodes of inPieces(db, [...new Set(told.map(({ owner }) => owner.node))])) {
    const query = db.selectFrom('ahead').selectAll().where('node', 'in', nodes);
    known.push(...(await query.where('day', '=', now.slice(0, 10)).execute()));
  }
  const tally = new AheadTally(known);
  for (const one of told) tally.add(one.owner, one.told, now);
  await upsertRows(db, dialect, 'ahead', tally.rows(), {
    keys: ['node', 'agent', 'day'],
    update: ['batches', 'ahead_ms', 'first_loaded', 'last_loaded', 'first_told', 'last_told'],
  });
}
