/** Sources of more than one batch may hold. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import * as z from 'zod';
import { type Agent, defineInventory, defineLog, type LogEntry } from '../../src/plugin/agent.ts';
import { changesParts, snapshotParts } from '../../src/run/parts.ts';
import type { Baseline } from '../../src/run/state.ts';
import { type Batch, type BatchEvent, MAX_BATCH } from '../../src/spool/batch.ts';
import { canonical, stateDigest } from '../../src/spool/canonical.ts';
import { Bench } from '../helpers/bench.ts';

const MIB = 1024 * 1024;

/** Replays a stream: each batch must continue the one before, be one that a reader takes, and lead to the state whose digest it names. */
function replay(batches: readonly Batch[]): Map<string, string> {
  const state = new Map<string, string>();
  let prev: string | null = null;
  for (const [index, batch] of batches.entries()) {
    assert.deepEqual([batch.header.seq, batch.header.prev], [index + 1, prev]);
    assert.ok(batch.bytes.length <= MAX_BATCH);
    prev = batch.trailer.sha256;
    if (batch.header.kind === 'snapshot') state.clear();
    for (const { item, after } of batch.events()) {
      if (item === undefined) continue;
      if (after) state.set(item, canonical(after));
      else state.delete(item);
    }
    if (batch.header.state)
      assert.deepEqual(
        batch.header.state,
        { items: state.size, digest: stateDigest(state) },
        `batch ${index + 1}`,
      );
  }
  return state;
}

interface Flow {
  events: number;
  padding: number;
  fails: boolean;
  /** How many events stand before a place that may be stored. */
  step: number;
}

/** Tells `flow.events` events behind the last place, of which it names few. */
function river(flow: Flow): Agent {
  return defineLog({
    name: 'river',
    summary: 'much',
    every: '1h',
    options: z.strictObject({}),
    fields: z.strictObject({ n: z.number(), padding: z.string() }),
    actions: { flowed: 'flowed' },
    sources: {
      brook: function* (context, cursor): Generator<LogEntry<{ n: number; padding: string }>> {
        const from = (cursor as number | undefined) ?? 0;
        for (let n = from + 1; n <= flow.events; n++) {
          yield {
            event: {
              time: context.now.toISOString(),
              action: 'flowed',
              data: { n, padding: 'x'.repeat(flow.padding) },
            },
            ...(n % flow.step === 0 ? { cursor: n } : {}),
          };
        }
        if (flow.fails) throw new Error('dried up');
        yield { cursor: flow.events };
      },
    },
  }) as Agent;
}

const upTo = (last: number): number[] => Array.from({ length: last }, (_, n) => n + 1);

function numbers(batches: readonly Batch[]): unknown[] {
  return batches.flatMap((batch) => [...batch.events()].map(({ data }) => data!.n));
}

test('P9: more of a log than a batch may hold, without a place to stop at, is cut into batches that count together', async (t) => {
  const bench = new Bench(t);
  const flow = { events: 132, padding: MIB / 2, fails: false, step: 1e9 };
  assert.equal((await bench.run(river(flow))).events, 132);
  const batches = bench.batches('river');
  assert.ok(batches.length >= 4, `${batches.length} batches`);
  replay(batches);
  assert.deepEqual(numbers(batches), upTo(132));
});

test('P5: a source that fails behind parts without a place leaves nothing of them, and is read again from the place before', async (t) => {
  const bench = new Bench(t);
  const flow = { events: 36, padding: MIB / 2, fails: true, step: 1e9 };
  const { outcome, events } = await bench.run(river(flow));
  assert.deepEqual([outcome, events], ['failed', 0]);
  assert.deepEqual(bench.batches('river'), []);
  assert.deepEqual(
    readdirSync(join(bench.paths.out, 'tmp')),
    [],
    'parts of what does not count still take room',
  );
  Object.assign(flow, { events: 40, step: 34 });
  bench.later(60_000);
  await bench.run(river(flow));
  assert.deepEqual(numbers(bench.batches('river')), upTo(34));
  flow.fails = false;
  bench.later(60_000);
  await bench.run(river(flow));
  const batches = bench.batches('river');
  assert.deepEqual(numbers(batches), upTo(40));
  replay(batches);
});

test('P5: an inventory larger than a batch is sent whole in several, then its changes, and proves its state when a snapshot is due', async (t) => {
  const bench = new Bench(t);
  bench.batchBytes = 60_000;
  const things = new Map(Array.from({ length: 16 }, (_, n) => [`thing/${n}`, `${n}`.padEnd(4096, 'x')]));
  const agent = defineInventory({
    name: 'hoard',
    summary: 'large things',
    every: '1h',
    options: z.strictObject({}),
    fields: z.strictObject({ text: z.string() }),
    actions: { put: 'put', taken: 'taken', moved: 'moved' },
    describe: ({ before, after }) => ({
      action: before === undefined ? 'put' : after === undefined ? 'taken' : 'moved',
    }),
    sources: { cave: () => [...things].map(([key, text]) => ({ key, fields: { text } })) },
  }) as Agent;
  assert.equal((await bench.run(agent)).outcome, 'ok');
  things.set('thing/3', 'moved');
  things.set('more', 'x'.repeat(4096));
  bench.later(86_400_000);
  assert.equal((await bench.run(agent)).outcome, 'ok');
  const batches = bench.batches('hoard');
  assert.deepEqual(
    batches.map(({ header, trailer }) => [header.kind, trailer.count]),
    [
      ['snapshot', 14],
      ['changes', 2],
      ['changes', 2],
      ['changes', 0],
    ],
  );
  assert.equal(replay(batches).size, 17);
});

test('changes are cut between events, and the parts lead from one state to the next', () => {
  const item = (key: string, n: number) => ({ key, source: 's', fields: { n } });
  const before: Baseline = new Map([
    ['a', item('a', 1)],
    ['b', item('b', 1)],
  ]);
  const after: Baseline = new Map([
    ['b', item('b', 2)],
    ['c', item('c', 1)],
  ]);
  const time = '2026-11-24T10:00:00.000Z';
  const events: BatchEvent[] = [
    { time, action: 'gone', item: 'a', source: 's', before: { n: 1 } },
    { time, action: 'moved', item: 'b', source: 's', before: { n: 1 }, after: { n: 2 } },
    { time, action: 'put', item: 'c', source: 's', after: { n: 1 } },
  ];
  const parts = changesParts(events, before, after, 1);
  assert.deepEqual(
    parts.map(({ kind, events: own }) => [kind, own.length]),
    [
      ['changes', 1],
      ['changes', 1],
      ['changes', 1],
    ],
  );
  assert.deepEqual(
    parts.map(({ items }) => [...items.keys()].sort().join('')),
    ['b', 'b', 'bc'],
  );
  assert.deepEqual(parts.at(-1)!.items, after);
  assert.equal(changesParts(events, before, after).length, 1);
  assert.deepEqual(snapshotParts([], new Map(), true), [{ kind: 'snapshot', events: [], items: new Map() }]);
});
