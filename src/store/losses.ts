/** Keeps `losses`: events by which an agent says that a part of its source was gone before it was read. */
import type { Insertable, Kysely } from 'kysely';
import type { FreshBatch } from './items.ts';
import { insertRows } from './rows.ts';
import type { Tables } from './tables.ts';
import { notAfter } from './times.ts';
import type { Told } from './told.ts';

/** Loads the losses that log batches, those `of` whom is asked, have told of. `now`, as stored, bounds their times: a loss must not lie beyond every window. */
export async function loadLosses(
  db: Kysely<Tables>,
  { losses }: Told,
  of: readonly FreshBatch[],
  now: string,
): Promise<void> {
  const asked = new Set(of);
  const rows = losses
    .filter(({ fresh }) => asked.has(fresh))
    .map(({ fresh: { id, batch }, idx, time }): Insertable<Tables['losses']> => {
      const { node, agent } = batch.header;
      return { batch: id, idx, node, agent, time: notAfter(now, time) };
    });
  await insertRows(db, 'losses', rows);
}
