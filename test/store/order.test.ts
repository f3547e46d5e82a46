/** Batches in any order, any number of times, in any groups: the store ends the same. */
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import type { Batch, Fields } from '../../src/spool/batch.ts';
import { completenessOf, digestAgrees } from '../../src/store/completeness.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { at, InventoryNode } from './stores.ts';

type Inventory = Record<string, Fields>;

/** What one run of the agent does: which kind of batch, after which change of the machine. */
interface Run {
  readonly kind: 'snapshot' | 'changes' | 'reset';
  readonly item: number;
  readonly value: number | null;
}

const runs = fc.array(
  fc.record<Run>({
    kind: fc.constantFrom('snapshot', 'changes', 'changes', 'reset'),
    item: fc.integer({ min: 0, max: 3 }),
    value: fc.option(fc.integer({ min: 0, max: 2 })),
  }),
  { minLength: 2, maxLength: 9 },
);

/** Batches of one agent that lives through these runs; a reset begins a new epoch. */
function live(story: readonly Run[]): Batch[] {
  const node = new InventoryNode();
  let state: Inventory = { a: { v: 0 }, b: { v: 0 } };
  let epoch = 'e1';
  const batches = [node.snapshot(at('00:00'), state, epoch)];
  for (const [index, { kind, item, value }] of story.entries()) {
    const key = 'abcd'[item]!;
    state = { ...state };
    if (value === null) delete state[key];
    else state[key] = { v: value };
    const time = at(`${String(index + 1).padStart(2, '0')}:00`);
    // The names of epochs are not in the order of their times.
    if (kind === 'reset') epoch = `e${9 - index}x`;
    batches.push(kind === 'changes' ? node.changes(time, state, epoch) : node.snapshot(time, state, epoch));
  }
  return batches;
}

/** All that the store tells, without the numbers that it gives to batches as they come. */
async function everything(store: Store): Promise<unknown> {
  const batches = await store.db.selectFrom('batches').select(['id', 'epoch', 'seq']).execute();
  const place = new Map(batches.map(({ id, epoch, seq }) => [id, `${epoch}/${seq}`]));
  const events = await store.db.selectFrom('events').selectAll().execute();
  const items = await store.db.selectFrom('items').selectAll().execute();
  const streams = await store.db.selectFrom('streams').selectAll().execute();
  const ranges = await store.db.selectFrom('ranges').selectAll().execute();
  const mismatches = await store.db.selectFrom('mismatches').selectAll().execute();
  const nodes = await store.db.selectFrom('nodes').selectAll().execute();
  const sorted = (rows: readonly unknown[]): string[] => rows.map((row) => JSON.stringify(row)).sort();
  return {
    events: sorted(events.map((row) => ({ ...row, batch: place.get(row.batch) }))),
    items: sorted(
      items.map((row) => ({
        ...row,
        from_batch: place.get(row.from_batch),
        to_batch: row.to_batch === null ? null : place.get(row.to_batch),
      })),
    ),
    streams: sorted(streams),
    ranges: sorted(ranges),
    mismatches: sorted(
      mismatches.map((row) => ({
        ...row,
        from_batch: place.get(row.from_batch),
        to_batch: row.to_batch === null ? null : place.get(row.to_batch),
      })),
    ),
    nodes: sorted(nodes),
  };
}

async function loaded(groups: readonly (readonly Batch[])[]): Promise<Store> {
  const store = await openStore('sqlite::memory:', { home: '/' });
  for (const group of groups) await store.load(group);
  return store;
}

/** Splits a list into loads at these places. */
function grouped(batches: readonly Batch[], cuts: readonly boolean[]): Batch[][] {
  const groups: Batch[][] = [];
  for (const [index, batch] of batches.entries()) {
    if (index === 0 || cuts[index]) groups.push([]);
    groups.at(-1)!.push(batch);
  }
  return groups;
}

const arrivals = runs.chain((story) => {
  const batches = live(story);
  const indexes = batches.map((_, index) => index);
  return fc.record({
    batches: fc.constant(batches),
    kept: fc.subarray(indexes, { minLength: 1 }),
    again: fc.array(fc.nat({ max: indexes.length - 1 }), { maxLength: 3 }),
    order: fc.shuffledSubarray(indexes, { minLength: indexes.length, maxLength: indexes.length }),
    cuts: fc.array(fc.boolean(), { minLength: indexes.length + 3, maxLength: indexes.length + 3 }),
  });
});

test('events, items, ranges and mismatches are the same whatever the order, the groups and the repeats', async () => {
  const property = fc.asyncProperty(arrivals, async ({ batches, kept, again, order, cuts }) => {
    const wanted = new Set(kept);
    const inTime = kept.map((index) => batches[index]!);
    const shuffled = [...order, ...again]
      .filter((index) => wanted.has(index))
      .map((index) => batches[index]!);
    const [a, b] = [await loaded([inTime]), await loaded(grouped(shuffled, cuts))];
    assert.deepEqual(await everything(b), await everything(a));
    await a.close();
    await b.close();
  });
  await fc.assert(property, { numRuns: 150 });
});

test('a whole account replays to the digest that the node gave, in whatever order it comes', async () => {
  const property = fc.asyncProperty(arrivals, async ({ batches, order, cuts }) => {
    const store = await loaded(
      grouped(
        order.map((index) => batches[index]!),
        cuts,
      ),
    );
    const { node, agent, epoch } = batches.at(-1)!.header;
    assert.equal(await digestAgrees(store, node, agent, epoch), true);
    const window = { since: new Date(at('00:00')), until: new Date(at('23:00')), now: new Date(at('23:00')) };
    const { counts } = await completenessOf(store, window);
    assert.deepEqual([counts.gapped, counts.differs], [0, 0]);
    await store.close();
  });
  await fc.assert(property, { numRuns: 60 });
});
