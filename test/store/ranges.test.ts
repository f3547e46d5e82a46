/** Which batches are here and which are missing: ranges, and what receipts say of heads, in any order of arrival. */
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import type { Batch } from '../../src/spool/batch.ts';
import { completenessOf } from '../../src/store/completeness.ts';
import { headLine } from '../../src/store/completeness-words.ts';
import { migrate } from '../../src/store/migrate.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { FakeNode, plainEvent } from '../helpers/batches.ts';
import { at, InventoryNode, onEachStore, receipt } from './stores.ts';

async function rangesOf(store: Store): Promise<string> {
  const rows = await store.db
    .selectFrom('ranges')
    .select(['first_seq', 'last_seq'])
    .where('agent', '=', 'logins')
    .orderBy('first_seq')
    .execute();
  return rows.map(({ first_seq, last_seq }) => `${first_seq}-${last_seq}`).join(' ');
}

function logins(node: FakeNode, count: number): Batch[] {
  return Array.from({ length: count }, (_, n) =>
    node.next('logins', 'log', [plainEvent(n)], { time: at(`00:${String(n).padStart(2, '0')}`) }),
  );
}

async function head(store: Store, since = at('00:00'), until = at('12:00')): Promise<string> {
  const now = new Date(at('12:00'));
  return headLine(await completenessOf(store, { since: new Date(since), until: new Date(until), now }));
}

onEachStore('P5: ranges grow, join and stay apart as batches come', async (_t, store) => {
  const batches = logins(new FakeNode(), 9);
  const load = (...seqs: number[]) => store.load(seqs.map((seq) => batches[seq - 1]!));
  await load(5);
  await load(2, 8);
  assert.equal(await rangesOf(store), '2-2 5-5 8-8');
  await load(4, 6);
  assert.equal(await rangesOf(store), '2-2 4-6 8-8');
  await load(7, 3);
  assert.equal(await rangesOf(store), '2-8');
  await load(1, 9, 5);
  assert.equal(await rangesOf(store), '1-9');
});

test('P5: ranges are the numbers that came, whatever the order, the groups and the repeats', async () => {
  const batches = logins(new FakeNode(), 12);
  const arrivals = fc.array(fc.array(fc.nat({ max: 11 }), { minLength: 1, maxLength: 6 }), { maxLength: 8 });
  const property = fc.asyncProperty(arrivals, async (groups) => {
    const store = await openStore('sqlite::memory:', { home: '/' });
    for (const group of groups) await store.load(group.map((index) => batches[index]!));
    const here = [...new Set(groups.flat())].sort((a, b) => a - b).map((index) => index + 1);
    const text = await rangesOf(store);
    await store.close();
    const told = text.split(' ').flatMap((range) => {
      const [first, last] = range.split('-').map(Number) as [number, number];
      return range === '' ? [] : Array.from({ length: last - first + 1 }, (_, n) => first + n);
    });
    assert.deepEqual(told, here);
    for (const [, last, first] of text.matchAll(/-(\d+) (?=(\d+))/g))
      assert.ok(Number(first) > Number(last) + 1, text);
  });
  await fc.assert(property, { numRuns: 60 });
});

onEachStore('P5: receipts of the same head do not carry an old gap into newer windows', async (_t, store) => {
  const node = new FakeNode();
  const batches = logins(node, 3);
  const receipts = ['01:00', '05:00', '09:00'].map((clock) =>
    receipt(node, at(clock), 'logins', { head: batches[2]! }),
  );
  for (const index of [0, 2, 1]) await store.load([receipts[index]!]);
  await store.load([batches[0]!, batches[1]!]);
  assert.match(await head(store), /1 gapped: web1 logins 3$/);
  assert.doesNotMatch(await head(store, at('06:00')), /gapped/);
});

onEachStore(
  'P5: a head that was named later on is missing up to when it was first named',
  async (_t, store) => {
    const node = new FakeNode();
    const batches = logins(node, 3);
    await store.load([batches[0]!]);
    await store.load([receipt(node, at('04:00'), 'logins', { head: batches[2]! })]);
    await store.load([receipt(node, at('02:00'), 'logins', { head: batches[2]! })]);
    assert.match(await head(store, at('01:30')), /gapped: web1 logins 2–3$/);
    assert.doesNotMatch(await head(store, at('03:00')), /gapped/);
  },
);

for (const [order, title] of [
  ['batches first', 'after the batches'],
  ['receipts first', 'before them'],
  ['at once', 'with them'],
] as const) {
  onEachStore(
    `P3: a receipt that names another batch than the one that is here is a fork, though it is not the newest, when it comes ${title}`,
    async (_t, store) => {
      const [honest, other] = [new FakeNode(), new FakeNode()];
      const batches = logins(honest, 4);
      const twin = other.next('logins', 'log', [plainEvent(99)], { time: at('00:30') });
      const told = receipt(honest, at('03:00'), 'logins', { head: twin });
      const right = receipt(honest, at('04:00'), 'logins', { head: batches[1]! });
      if (order === 'at once') await store.load([told, ...batches, right]);
      else {
        const loads = [batches, [told, right]];
        for (const load of order === 'batches first' ? loads : loads.toReversed()) await store.load(load);
      }
      const forks = await store.db.selectFrom('forks').select(['seq', 'sha256', 'reason']).execute();
      assert.deepEqual(
        forks.map((fork) => ({ ...fork })),
        [{ seq: 1, sha256: twin.trailer.sha256, reason: 'named' }],
      );
      assert.match(await head(store), /1 forked: web1 logins$/);
      assert.deepEqual(await store.db.selectFrom('named_heads').selectAll().execute(), []);
    },
  );
}

onEachStore(
  'P5: a hole beside a batch whose clock was ahead shows, and so does one where it ran back',
  async (_t, store) => {
    const node = new FakeNode();
    const next = (time: string) => node.next('logins', 'log', [plainEvent()], { time });
    const batches = [
      next(at('05:00')),
      next(at('04:00')),
      next(at('02:00')),
      next('2099-01-01T00:00:00.000Z'),
    ];
    next('2099-01-01T00:00:00.000Z');
    batches.push(next('2099-01-01T00:00:00.000Z'));
    await store.load(batches.filter((_, index) => index !== 1));
    const now = new Date();
    const answer = await completenessOf(store, { since: new Date(at('03:00')), until: now, now });
    assert.match(headLine(answer), /1 gapped: web1 logins 2, 5/);
  },
);

const VERSION_2 = ['ranges', 'named_heads', 'mismatches', 'losses', 'ahead', 'register'] as const;

async function contents(store: Store): Promise<Record<string, unknown[]>> {
  const found: Record<string, unknown[]> = {};
  for (const table of [...VERSION_2, 'streams', 'forks'] as const) {
    const rows: object[] = await store.db.selectFrom(table).selectAll().execute();
    // When a node was entered and a fork found, version 1 has in other words.
    const lines = rows.map((row) =>
      JSON.stringify({ ...row, ...(table === 'register' ? { since: '' } : {}), loaded: '' }),
    );
    found[table] = lines.sort();
  }
  return found;
}

/** Makes of a store what version 1 would have left of the same batches. */
async function backToFirst(store: Store): Promise<void> {
  for (const table of VERSION_2) await store.db.schema.dropTable(table).execute();
  await store.db.deleteFrom('forks').where('reason', '=', 'named').execute();
  await store.db
    .updateTable('streams')
    .set({ named_time: '2026-11-23 09:00:00.000' })
    .where('named_seq', '>', 0)
    .execute();
  await store.db.deleteFrom('migrations').where('version', '>', 1).execute();
}

onEachStore(
  'a store of version 1 is brought along: what it holds is read as if it had been loaded today',
  async (_t, store) => {
    const node = new FakeNode();
    const batches = logins(node, 9);
    const twin = new FakeNode().next('logins', 'log', [plainEvent(99)]);
    const lost = { ...plainEvent(), action: 'history-lost', data: { lost: 'all' } };
    const packages = new InventoryNode(node);
    const other = new FakeNode('00000000-0000-4000-8000-000000000002', 'web2');
    const first = packages.snapshot(at('01:00'), { a: { v: 1 } });
    packages.changes(at('02:00'), { a: { v: 2 }, b: { v: 1 } });
    const third = packages.changes(at('03:00'), { a: { v: 3 }, b: { v: 1 } });
    await store.load(batches.filter(({ header }) => ![1, 4, 5].includes(header.seq)));
    await store.load([first, third]);
    await store.load([
      receipt(node, at('08:00'), 'logins', { head: twin }),
      receipt(node, at('08:00'), 'logins', { head: twin, seq: 2 }),
      receipt(node, at('08:30'), 'logins', { head: twin, seq: 12 }),
      receipt(node, at('09:00'), 'logins', { head: twin, seq: 12 }),
      other.next('package-history', 'log', [lost]),
      other.next('package-history', 'log', [plainEvent()], { time: '2099-01-01T00:00:00.000Z' }),
      // Ahead, but not by so much that the clocks cannot agree.
      other.next('users', 'log', [plainEvent()], { time: new Date(Date.now() + 60_000).toISOString() }),
      other.next('package-history', 'log', [{ ...plainEvent(), time: '2098-01-01T00:00:00.000Z' }]),
    ]);
    const before = await contents(store);
    for (const table of VERSION_2) assert.ok(before[table]!.length > 0, table);
    await backToFirst(store);
    await migrate(store.db, store.dialect, store.label);
    const after = await contents(store);
    assert.deepEqual(after, before);
  },
);
