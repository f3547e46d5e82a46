/**
 * Keeps `items` and the derived events true to the inventory batches. Batches that come in order are added to what is there; for one that comes
 * late, the history is taken back to where it belongs and told again, so that it comes out as if it had come in time.
 */
import type { Kysely, Selectable } from 'kysely';
import { canonical } from '../spool/canonical.ts';
import {
  type Folded,
  fold,
  type Ground,
  type Held,
  type ItemRow,
  inOrder,
  type Position,
  type Step,
} from './inventory.ts';
import type { Loadable } from './loadable.ts';
import { openMismatch, rewindMismatches, writeMismatches } from './mismatches.ts';
import { inPieces, insertRows } from './rows.ts';
import type { StreamRow, Tables } from './tables.ts';
import { toStored } from './times.ts';
import { wellFormed } from './wellformed.ts';

/** One agent on one node. */
export interface Owner {
  readonly node: string;
  readonly agent: string;
}

/** An inventory batch that has just got its row. */
export interface FreshBatch {
  readonly id: number;
  readonly batch: Loadable;
}

type Stored = Position & { readonly kind: string; readonly since: string | null; readonly digest: string };

/** A loaded inventory batch as a step of the fold. */
function stepOf({ id, batch }: FreshBatch): Step {
  const items = new Map<string, Held | null>();
  for (const event of batch.events()) {
    const held = event.after ? { source: event.source ?? null, fields: canonical(event.after) } : null;
    items.set(wellFormed(event.item!), held);
  }
  const { kind, time, since, state } = batch.header;
  return {
    batch: id,
    time: toStored(time),
    since: since === undefined ? null : toStored(since),
    kind: kind === 'snapshot' ? 'snapshot' : 'changes',
    items,
    digest: state!.digest,
  };
}

function itemRow(row: Selectable<Tables['items']>): ItemRow {
  return {
    item: row.item,
    source: row.source,
    fields: row.fields_json,
    fromBatch: row.from_batch,
    validFrom: row.valid_from,
    toBatch: row.to_batch,
    validTo: row.valid_to,
  };
}

/** Of each item the row that says what came last: the open one, else the one that was closed last. */
function lastRows(rows: Iterable<ItemRow>): Map<string, ItemRow> {
  const last = new Map<string, ItemRow>();
  for (const row of rows) {
    const known = last.get(row.item);
    const isLater =
      !known ||
      row.toBatch === null ||
      (known.toBatch !== null && (row.validTo ?? '') >= (known.validTo ?? ''));
    if (isLater) last.set(row.item, row);
  }
  return last;
}

/**
 * Loads one agent's new inventory batches on one node into `items`, and what their snapshots show unaccounted into `events`.
 * `streams`: the agent's streams as they were before these batches.
 */
export async function loadItems(
  db: Kysely<Tables>,
  owner: Owner,
  fresh: readonly FreshBatch[],
  streams: readonly StreamRow[],
): Promise<void> {
  const positions = fresh.map(({ id, batch: { header } }) => ({
    ...header,
    id,
    time: toStored(header.time),
  }));
  const steps = new Map(fresh.map((one) => [one.id, stepOf(one)]));
  const inTime = follows(streams, inOrder(positions));
  if (inTime) {
    const ground = await groundFor(db, owner, [...steps.values()]);
    ground.snapshotSeen = await hasSnapshot(db, owner, new Set(steps.keys()));
    ground.previous = inTime.previous;
    ground.mismatch = await openMismatch(db, owner);
    await write(
      db,
      owner,
      fold(
        ground,
        inOrder(positions).map(({ id }) => steps.get(id)!),
      ),
    );
  } else await tellAgain(db, owner, steps);
}

/** Whether positions, in order, all lie behind what the streams hold; if so, with the time of the batch before them. */
function follows(
  streams: readonly StreamRow[],
  positions: readonly Position[],
): { previous: string | null } | undefined {
  const held = streams.filter(({ batches }) => batches > 0);
  const startOf = (one: StreamRow): string => `${one.started} ${one.epoch}`;
  const newest = held.reduce<StreamRow | undefined>(
    (a, b) => (a && startOf(a) > startOf(b) ? a : b),
    undefined,
  );
  if (!newest) return { previous: null };
  const epochs = new Set(held.map(({ epoch }) => epoch));
  const behind = positions.every(({ epoch, seq, time }) =>
    epochs.has(epoch)
      ? epoch === newest.epoch && seq > newest.last_seq
      : `${time} ${epoch}` > startOf(newest),
  );
  return behind ? { previous: newest.last_time } : undefined;
}

/** Takes the history back to where the earliest of these batches belongs, and tells it again with them. */
async function tellAgain(db: Kysely<Tables>, owner: Owner, fresh: ReadonlyMap<number, Step>): Promise<void> {
  const timeline = await readTimeline(db, owner);
  const order = inOrder(timeline);
  const before = inOrder(timeline.filter(({ id }) => !fresh.has(id)));
  const differs = before.findIndex((position, index) => order[index]?.id !== position.id);
  const kept = differs < 0 ? before.length : differs;
  const undone = before.slice(kept);
  const history = await readHistory(db, owner);
  const retold = await retell(db, before, undone, history);
  const steps = new Map([...fresh, ...retold.map((step): [number, Step] => [step.batch, step])]);
  const ground = await rewind(db, owner, new Set(undone.map(({ id }) => id)), history);
  ground.mismatch = await rewindMismatches(
    db,
    owner,
    undone.map(({ id }) => id),
  );
  const past = before.slice(0, kept);
  ground.snapshotSeen = past.some(({ kind }) => kind === 'snapshot');
  ground.previous = past.at(-1)?.time ?? null;
  const ahead = order.slice(kept).map(({ id }) => steps.get(id)!);
  await write(db, owner, fold(ground, ahead));
}

/** Whether a snapshot other than the new ones is loaded. */
async function hasSnapshot(
  db: Kysely<Tables>,
  { node, agent }: Owner,
  fresh: ReadonlySet<number>,
): Promise<boolean> {
  const rows = await db
    .selectFrom('batches')
    .select('id')
    .where('node', '=', node)
    .where('agent', '=', agent)
    .where('kind', '=', 'snapshot')
    .limit(fresh.size + 1)
    .execute();
  return rows.some(({ id }) => !fresh.has(id));
}

async function readTimeline(db: Kysely<Tables>, { node, agent }: Owner): Promise<Stored[]> {
  return db
    .selectFrom('batches')
    .select(['id', 'epoch', 'seq', 'time', 'kind', 'since'])
    .select((eb) => eb.ref('state_digest').$notNull().as('digest'))
    .where('node', '=', node)
    .where('agent', '=', agent)
    .where('kind', 'in', ['snapshot', 'changes'])
    .execute();
}

/** The last rows of every item there is now, and of the items that the steps name. */
async function groundFor(
  db: Kysely<Tables>,
  { node, agent }: Owner,
  steps: readonly Step[],
): Promise<Ground> {
  const rows = db.selectFrom('items').selectAll().where('node', '=', node).where('agent', '=', agent);
  const found = (await rows.where('to_batch', 'is', null).execute()).map(itemRow);
  const open = new Set(found.map(({ item }) => item));
  const named = new Set(steps.flatMap((step) => [...step.items.keys()]));
  for (const keys of inPieces(
    db,
    [...named].filter((item) => !open.has(item)),
  )) {
    found.push(...(await rows.where('item', 'in', keys).execute()).map(itemRow));
  }
  return { last: lastRows(found), mismatch: undefined, snapshotSeen: false, previous: null };
}

async function readHistory(db: Kysely<Tables>, { node, agent }: Owner): Promise<ItemRow[]> {
  const rows = await db
    .selectFrom('items')
    .selectAll()
    .where('node', '=', node)
    .where('agent', '=', agent)
    .execute();
  return rows.map(itemRow);
}

/** The steps of batches loaded earlier: a snapshot is what the history says was there behind it, changes are its events. */
async function retell(
  db: Kysely<Tables>,
  order: readonly Stored[],
  batches: readonly Stored[],
  history: readonly ItemRow[],
): Promise<Step[]> {
  const place = new Map(order.map(({ id }, index) => [id, index]));
  const wasThere = (row: ItemRow, index: number): boolean =>
    place.get(row.fromBatch)! <= index && (row.toBatch === null || place.get(row.toBatch)! > index);
  const changes = await readChanges(
    db,
    batches.filter(({ kind }) => kind === 'changes').map(({ id }) => id),
  );
  return batches.map(({ id, time, since, kind, digest }) => {
    const step = { batch: id, time, since, digest };
    if (kind === 'changes') return { ...step, kind, items: changes.get(id) ?? new Map() };
    const held = history.filter((row) => wasThere(row, place.get(id)!));
    return { ...step, kind: 'snapshot', items: new Map(held.map((row) => [row.item, row])) };
  });
}

async function readChanges(
  db: Kysely<Tables>,
  ids: readonly number[],
): Promise<Map<number, Map<string, Held | null>>> {
  const changes = new Map<number, Map<string, Held | null>>();
  for (const piece of inPieces(db, ids)) {
    const events = await db
      .selectFrom('events')
      .select(['batch', 'item', 'source', 'after_json'])
      .where('batch', 'in', piece)
      .where('derived', '=', 0)
      .orderBy('batch')
      .orderBy('idx')
      .execute();
    for (const { batch, item, source, after_json } of events) {
      const items = changes.get(batch) ?? new Map<string, Held | null>();
      items.set(item ?? '', after_json === null ? null : { source, fields: after_json });
      changes.set(batch, items);
    }
  }
  return changes;
}

/** Takes back what these batches did to `items`, in the database and in what is returned, and the events derived from them. */
async function rewind(
  db: Kysely<Tables>,
  { node, agent }: Owner,
  undone: ReadonlySet<number>,
  history: readonly ItemRow[],
): Promise<Ground> {
  for (const ids of inPieces(db, [...undone])) {
    await db.deleteFrom('events').where('batch', 'in', ids).where('derived', '=', 1).execute();
    await db
      .deleteFrom('items')
      .where('node', '=', node)
      .where('agent', '=', agent)
      .where('from_batch', 'in', ids)
      .execute();
    await db
      .updateTable('items')
      .set({ to_batch: null, valid_to: null })
      .where('node', '=', node)
      .where('agent', '=', agent)
      .where('to_batch', 'in', ids)
      .execute();
  }
  const left = history
    .filter((row) => !undone.has(row.fromBatch))
    .map((row) =>
      row.toBatch !== null && undone.has(row.toBatch) ? { ...row, toBatch: null, validTo: null } : row,
    );
  return { last: lastRows(left), mismatch: undefined, snapshotSeen: false, previous: null };
}

async function write(db: Kysely<Tables>, owner: Owner, folded: Folded): Promise<void> {
  const { closed, added, differences } = folded;
  await writeMismatches(db, owner, folded);
  for (const rows of Map.groupBy(closed, (row) => `${row.toBatch} ${row.validTo}`).values())
    await close(db, owner, rows);
  await insertRows(
    db,
    'items',
    added.map((row) => ({
      ...owner,
      item: row.item,
      from_batch: row.fromBatch,
      to_batch: row.toBatch,
      valid_from: row.validFrom,
      valid_to: row.validTo,
      source: row.source,
      fields_json: row.fields,
    })),
  );
  const next = new Map<number, number>();
  await insertRows(
    db,
    'events',
    differences.map(({ step, since, item, before, after }) => {
      const idx = next.get(step.batch) ?? 0;
      next.set(step.batch, idx + 1);
      return {
        batch: step.batch,
        idx,
        ...owner,
        time: step.time,
        since,
        collected: step.time,
        action: !before ? 'appeared' : after ? 'differed' : 'vanished',
        item,
        source: (after ?? before)?.source ?? null,
        derived: 1,
        before_json: before?.fields ?? null,
        after_json: after?.fields ?? null,
        by_json: null,
        data_json: null,
      };
    }),
  );
}

/** Closes rows that end with the same batch at the same time. */
async function close(db: Kysely<Tables>, { node, agent }: Owner, rows: readonly ItemRow[]): Promise<void> {
  for (const piece of inPieces(db, rows)) {
    await db
      .updateTable('items')
      .set({ to_batch: piece[0]!.toBatch, valid_to: piece[0]!.validTo })
      .where('node', '=', node)
      .where('agent', '=', agent)
      .where('to_batch', 'is', null)
      .where(
        'item',
        'in',
        piece.map(({ item }) => item),
      )
      .execute();
  }
}
