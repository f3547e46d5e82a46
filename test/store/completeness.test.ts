import assert from 'node:assert/strict';
import test from 'node:test';
import { CompiledQuery } from 'kysely';
import { completenessOf, digestAgrees, streamStates } from '../../src/store/completeness.ts';
import { lateness } from '../../src/store/completeness-rules.ts';
import { headLine, noCounts } from '../../src/store/completeness-words.ts';
import type { Store } from '../../src/store/store.ts';
import { FakeNode, plainEvent } from '../helpers/batches.ts';
import { at, InventoryNode, onEachStore, receipt, sqliteStore, watched } from './stores.ts';

const NOW = { since: new Date(at('00:00')), until: new Date(at('12:00')), now: new Date(at('12:00')) };

async function head(store: Store, question = NOW): Promise<string> {
  return headLine(await completenessOf(store, question));
}

/** A node whose logins agent wrote `seqs` batches, ran last at `ran`, and of whose batches only `sent` came. */
async function lived(
  store: Store,
  host: string,
  story: { seqs: number; ran: string; sent?: (seq: number) => boolean },
): Promise<FakeNode> {
  const id = `00000000-0000-4000-8000-${Buffer.from(host.padEnd(6, '_')).toString('hex')}`;
  const node = new FakeNode(id, host);
  const batches = Array.from({ length: story.seqs }, (_, n) =>
    node.next('logins', 'log', [plainEvent(n)], { time: at(`${String(n + 1).padStart(2, '0')}:00`) }),
  );
  await store.load(batches.filter(({ header }) => story.sent?.(header.seq) ?? true));
  await store.load([receipt(node, at(story.ran), 'logins', { head: batches.at(-1)! })]);
  return node;
}

test('late after two intervals and ten minutes, silent after three and a day', () => {
  const [minute, hour] = [60_000, 3_600_000];
  assert.equal(lateness(2 * hour + 10 * minute, hour), 'complete');
  assert.equal(lateness(2 * hour + 10 * minute + 1, hour), 'late');
  assert.equal(lateness(24 * hour, hour), 'late');
  assert.equal(lateness(24 * hour + 1, hour), 'silent');
  assert.equal(lateness(71 * hour, 24 * hour), 'late');
  assert.equal(lateness(73 * hour, 24 * hour), 'silent');
  assert.equal(lateness(23 * hour, null), 'complete');
});

onEachStore('an empty store is not complete', async (_t, store) => {
  assert.equal(await head(store), 'incomplete: no node has reported yet');
});

onEachStore('a node that has sent all and runs in time is complete', async (_t, store) => {
  await lived(store, 'web1', { seqs: 3, ran: '11:30' });
  assert.equal(await head(store), 'complete: 1 of 1 nodes');
});

onEachStore('P5: the head line names which nodes lack what', async (_t, store) => {
  await lived(store, 'ok1', { seqs: 3, ran: '11:30' });
  await lived(store, 'late1', { seqs: 3, ran: '08:00' });
  await lived(store, 'gap1', { seqs: 9, ran: '11:30', sent: (seq) => seq !== 4 && seq !== 5 && seq !== 7 });
  await lived(store, 'tail1', { seqs: 9, ran: '11:30', sent: (seq) => seq < 8 });
  await lived(store, 'head1', { seqs: 3, ran: '11:30', sent: (seq) => seq > 2 });
  const fork = await lived(store, 'fork1', { seqs: 3, ran: '11:30' });
  await store.load([
    new FakeNode(fork.node, 'fork1').next('logins', 'log', [plainEvent(99)], { time: at('01:00') }),
  ]);
  assert.equal(
    await head(store),
    'incomplete: 1 of 6 nodes complete; 1 late: late1; 3 gapped: gap1 logins 4–5, 7, head1 logins 1–2, tail1 logins 8–9; 1 forked: fork1 logins',
  );
  assert.deepEqual((await completenessOf(store, NOW)).counts, {
    ...noCounts(),
    nodes: 6,
    complete: 1,
    late: 1,
    gapped: 3,
    forked: 1,
  });
});

onEachStore('P5: a batch that comes after all closes its gap', async (_t, store) => {
  const node = new FakeNode();
  const batches = [1, 2, 3].map((n) => node.next('logins', 'log', [plainEvent(n)]));
  await store.load([batches[0]!, batches[2]!, receipt(node, at('11:30'), 'logins', { head: batches[2]! })]);
  assert.match(await head(store), /gapped: web1 logins 2$/);
  await store.load([batches[1]!]);
  assert.equal(await head(store), 'complete: 1 of 1 nodes');
});

onEachStore('P5: a gap counts in the windows that it overlaps, and in no other', async (_t, store) => {
  await lived(store, 'gap1', { seqs: 9, ran: '11:30', sent: (seq) => seq !== 4 });
  const window = (since: string, until: string) => ({
    ...NOW,
    since: new Date(at(since)),
    until: new Date(at(until)),
  });
  assert.match(await head(store, window('03:30', '04:30')), /gapped/);
  assert.doesNotMatch(await head(store, window('06:00', '07:00')), /gapped/);
});

onEachStore('P5: a node whose whole stream is missing is gapped by its receipt', async (_t, store) => {
  await lived(store, 'new1', { seqs: 2, ran: '11:30', sent: () => false });
  assert.match(await head(store), /1 gapped: new1 logins 1–2$/);
});

onEachStore('a receipt that names another head than the one that is here is a fork', async (_t, store) => {
  const node = new FakeNode();
  const batch = node.next('logins', 'log', [plainEvent()]);
  await store.load([batch, receipt(node, at('11:30'), 'logins', { seq: 1 })]);
  assert.match(await head(store), /1 forked: web1 logins$/);
});

onEachStore('a node whose clock is years ahead does not look alive for ever', async (_t, store) => {
  const node = new FakeNode();
  const head1 = node.next('logins', 'log', [plainEvent()]);
  await store.load([head1, receipt(node, '2099-01-01T00:00:00.000Z', 'logins', { head: head1 })]);
  const now = new Date(Date.now() + 3 * 86_400_000);
  assert.match(
    await head(store, { since: new Date(0), until: now, now }),
    /1 silent: web1; 1 with a clock ahead: web1 \(by \d{5}d\)$/,
  );
});

onEachStore(
  'an agent that found nothing to collect is complete while it runs, and silent when it does not',
  async (_t, store) => {
    const node = new FakeNode();
    await store.load([receipt(node, at('11:30'), 'services', { outcome: 'absent' })]);
    assert.equal(await head(store), 'complete: 1 of 1 nodes');
    const later = new Date(at('12:00', 25));
    assert.match(await head(store, { ...NOW, until: later, now: later }), /1 silent: web1$/);
  },
);

onEachStore('P5: a new epoch shows as a restart, and the one before it is not late', async (_t, store) => {
  const node = new FakeNode();
  await store.load([
    node.next('logins', 'log', [plainEvent(1)], { time: at('01:00'), epoch: 'zz-old' }),
    node.next('logins', 'log', [plainEvent(2)], { time: at('11:00'), epoch: 'aa-new' }),
  ]);
  await store.load([receipt(node, at('11:30'), 'logins')]);
  const [streams] = await Array.fromAsync(streamStates(store, NOW));
  assert.deepEqual(
    streams!
      .filter(({ agent }) => agent === 'logins')
      .map(({ epoch, state, epochs }) => [epoch, state, epochs]),
    [
      ['zz-old', 'complete', 2],
      ['aa-new', 'restarted', 2],
    ],
  );
});

onEachStore(
  'items that were changed behind the store’s back show as a digest that differs',
  async (_t, store) => {
    const node = new InventoryNode();
    const batch = node.snapshot(at('01:00'), { a: { v: 1 }, ä: { v: 'x\u2028' } });
    await store.load([batch, node.changes(at('02:00'), { ä: { v: 'x\u2028' }, b: { v: 2 } })]);
    const { node: id, agent, epoch } = batch.header;
    assert.equal(await digestAgrees(store, id, agent, epoch), true);
    await store.db.updateTable('items').set({ fields_json: '{"v":3}' }).where('item', '=', 'b').execute();
    assert.equal(await digestAgrees(store, id, agent, epoch), false);
  },
);

onEachStore(
  'P9: a page of nodes costs the same few questions, however many nodes and streams it has',
  async (_t, store) => {
    const cost = async (): Promise<number> => {
      const { questions, ...seen } = watched(store);
      await completenessOf(seen.store, NOW);
      return questions.length;
    };
    await lived(store, 'one', { seqs: 3, ran: '11:30', sent: (seq) => seq !== 2 });
    const few = await cost();
    assert.ok(few > 0 && few < 12, `${few} questions`);
    for (let n = 0; n < 20; n++)
      await lived(store, `n${n}`, { seqs: 5, ran: '11:30', sent: (seq) => seq % 2 === 1 });
    assert.equal(await cost(), few);
  },
);

test('P9: of all batches that a stream has, SQLite looks up the newest by its key', async (t) => {
  const store = await sqliteStore(t);
  await lived(store, 'one', { seqs: 3, ran: '11:30' });
  const { questions, ...seen } = watched(store);
  await Array.fromAsync(streamStates(seen.store, NOW));
  const plans = await Promise.all(
    questions.map(({ sql, parameters }) =>
      store.db.executeQuery<{ detail: string }>(
        CompiledQuery.raw(`explain query plan ${sql}`, [...parameters]),
      ),
    ),
  );
  const steps = plans.flatMap(({ rows }) => rows.map(({ detail }) => detail));
  const ofBatches = steps.filter((step) => /^(SCAN|SEARCH) (b|batches)\b/.test(step));
  assert.ok(ofBatches.length > 0);
  for (const step of ofBatches) assert.match(step, /\(node=\? AND agent=\? AND epoch=\? AND seq=\?\)$/);
});
