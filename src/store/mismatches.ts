/** Keeps `mismatches`: stretches in which an inventory, replayed from its batches, was not what its node said it was. */
import type { Kysely } from 'kysely';
import type { Folded, Mismatch } from './inventory.ts';
import type { Owner } from './items.ts';
import { inPieces, insertRows } from './rows.ts';
import type { Tables } from './tables.ts';

/** The mismatch of an inventory that lasts, if one does. */
export async function openMismatch(
  db: Kysely<Tables>,
  { node, agent }: Owner,
): Promise<Mismatch | undefined> {
  const row = await db
    .selectFrom('mismatches')
    .select(['from_batch', 'from_time'])
    .where('node', '=', node)
    .where('agent', '=', agent)
    .where('to_batch', 'is', null)
    .executeTakeFirst();
  return row && { fromBatch: row.from_batch, fromTime: row.from_time, toBatch: null, toTime: null };
}

/** Takes back what these batches showed; answers the mismatch that then lasts. */
export async function rewindMismatches(
  db: Kysely<Tables>,
  owner: Owner,
  undone: readonly number[],
): Promise<Mismatch | undefined> {
  const { node, agent } = owner;
  for (const ids of inPieces(db, undone)) {
    await db
      .deleteFrom('mismatches')
      .where('node', '=', node)
      .where('agent', '=', agent)
      .where('from_batch', 'in', ids)
      .execute();
    await db
      .updateTable('mismatches')
      .set({ to_batch: null, to_time: null })
      .where('node', '=', node)
      .where('agent', '=', agent)
      .where('to_batch', 'in', ids)
      .execute();
  }
  return openMismatch(db, owner);
}

/** Writes what a fold found. */
export async function writeMismatches(
  db: Kysely<Tables>,
  { node, agent }: Owner,
  { mended, mismatches }: Pick<Folded, 'mended' | 'mismatches'>,
): Promise<void> {
  if (mended) {
    await db
      .updateTable('mismatches')
      .set({ to_batch: mended.toBatch, to_time: mended.toTime })
      .where('node', '=', node)
      .where('agent', '=', agent)
      .where('from_batch', '=', mended.fromBatch)
      .execute();
  }
  await insertRows(
    db,
    'mismatches',
    mismatches.map(({ fromBatch, fromTime, toBatch, toTime }) => ({
      node,
      agent,
      from_batch: fromBatch,
      to_batch: toBatch,
      from_time: fromTime,
      to_time: toTime,
    })),
  );
}
