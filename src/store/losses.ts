/** Keeps `losses`: events by which an agent says that a part of its source was gone before it was read. */
import type { Insertable, Kysely } from 'kysely';
import type { FreshBatch } from './items.ts';
import { insertRows } from './rows.ts';
import type { Tables } from './tables.ts';
import { notAfter } from './times.ts';

/** The action of such an event, whichever agent writes it (docs/agents.md). */
const LOST = 'history-lost';

/** Loads the losses that new log batches tell of. `now`, as stored, bounds their times: a loss must not lie beyond every window. */
export async function loadLosses(
  db: Kysely<Tables>,
  fresh: readonly FreshBatch[],
  now: string,
): Promise<void> {
  const rows: Insertable<Tables['losses']>[] = [];
  for (const { id, batch } of fresh) {
    if (batch.header.kind !== 'log') continue;
    const { node, agent } = batch.header;
    for (const [idx, { action, time }] of batch.events.entries())
      if (action === LOST) rows.push({ batch: id, idx, node, agent, time: notAfter(now, time) });
  }
  await insertRows(db, 'losses', rows);
}
