import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import * as z from 'zod';
import { takeLock } from '../../src/lock.ts';
import {
  type Agent,
  absent,
  defineInventory,
  defineLog,
  type Item,
  type LogEntry,
  type Step,
} from '../../src/plugin/agent.ts';
import type { Batch } from '../../src/spool/batch.ts';
import { canonical, stateDigest } from '../../src/spool/canonical.ts';
import { Bench } from '../helpers/bench.ts';
import { temporary } from '../helpers/tree.ts';

type Things = Record<string, number>;

/** An inventory whose sources' contents the test sets; a function in place of contents is called and may throw. */
class Shelf {
  readonly sources: Record<string, Things | (() => Iterable<Item>)>;

  constructor(sources: Shelf['sources']) {
    this.sources = sources;
  }

  get agent(): Agent {
    return defineInventory({
      name: 'shelf',
      summary: 'things',
      every: '1h',
      options: z.strictObject({}),
      fields: z.strictObject({ n: z.number(), label: z.string().optional() }),
      actions: { put: 'put', taken: 'taken', moved: 'moved' },
      describe: ({ before, after }) => ({
        action: before === undefined ? 'put' : after === undefined ? 'taken' : 'moved',
      }),
      sources: Object.fromEntries(Object.keys(this.sources).map((name) => [name, () => this.#items(name)])),
    }) as Agent;
  }

  #items(name: string): Iterable<Item<{ n: number }>> {
    const source = this.sources[name]!;
    if (typeof source === 'function') return source() as Iterable<Item<{ n: number }>>;
    return Object.entries(source).map(([key, n]) => ({ key: `${name}/${key}`, fields: { n } }));
  }
}

function told(batch: Batch | undefined): string[] {
  return [...batch!.events()].map(({ action, item }) => `${action} ${item}`);
}

test('the first run sends the whole inventory, the next only what changed, with before and after', async (t) => {
  const bench = new Bench(t);
  const shelf = new Shelf({ top: { a: 1, b: 2 } });
  await bench.run(shelf.agent);
  shelf.sources.top = { b: 3, c: 4 };
  bench.later(3_600_000);
  await bench.run(shelf.agent);
  const [first, second, ...rest] = bench.batches('shelf');
  assert.equal(rest.length, 0);
  assert.equal(first!.header.kind, 'snapshot');
  assert.deepEqual(told(first), ['present top/a', 'present top/b']);
  assert.equal(second!.header.kind, 'changes');
  assert.deepEqual(told(second), ['taken top/a', 'moved top/b', 'put top/c']);
  const moved = [...second!.events()][1]!;
  assert.deepEqual([moved.before, moved.after], [{ n: 2 }, { n: 3 }]);
  assert.equal(second!.header.since, first!.header.time);
});

test('batches chain: seq counts up, prev names the batch before, and the state digest is that of the replayed events', async (t) => {
  const bench = new Bench(t);
  const shelf = new Shelf({ top: { a: 1 } });
  for (const things of [{ a: 1 }, { a: 1, b: 2 }, { b: 5 }] as Things[]) {
    shelf.sources.top = things;
    await bench.run(shelf.agent);
    bench.later(60_000);
  }
  const state = new Map<string, string>();
  let prev: string | null = null;
  for (const [index, batch] of bench.batches('shelf').entries()) {
    assert.equal(batch.header.seq, index + 1);
    assert.equal(batch.header.prev, prev);
    prev = batch.trailer.sha256;
    for (const { item, after } of batch.events())
      after ? state.set(item!, canonical(after)) : state.delete(item!);
    assert.deepEqual(batch.header.state, { items: state.size, digest: stateDigest(state) });
  }
});

test('a run without changes writes no batch but a receipt', async (t) => {
  const bench = new Bench(t);
  const shelf = new Shelf({ top: { a: 1 } });
  await bench.run(shelf.agent);
  bench.later(60_000);
  await bench.run(shelf.agent);
  assert.equal(bench.batches('shelf').length, 1);
  const receipts = bench.batches('receipts');
  assert.equal(receipts.length, 2);
  const [event] = [...receipts[1]!.events()];
  assert.equal(event!.item, 'agent/shelf');
  assert.deepEqual(event!.data!.stream, {
    epoch: bench.batches('shelf')[0]!.header.epoch,
    seq: 1,
    sha256: bench.batches('shelf')[0]!.trailer.sha256,
  });
  assert.equal(event!.data!.outcome, 'ok');
  assert.equal(event!.data!.items, 1);
});

test('a whole inventory is sent again after a day, behind the changes', async (t) => {
  const bench = new Bench(t);
  const shelf = new Shelf({ top: { a: 1 } });
  await bench.run(shelf.agent);
  shelf.sources.top = { a: 2 };
  bench.later(86_400_000);
  await bench.run(shelf.agent);
  assert.deepEqual(
    bench.batches('shelf').map(({ header }) => header.kind),
    ['snapshot', 'changes', 'snapshot'],
  );
});

test('a source that fails midway writes no batch and moves no baseline', async (t) => {
  const bench = new Bench(t);
  const shelf = new Shelf({ top: { a: 1, b: 2 } });
  await bench.run(shelf.agent);
  shelf.sources.top = function* () {
    yield { key: 'top/a', fields: { n: 1 } };
    throw new Error('the shelf fell over');
  };
  const outcome = await bench.run(shelf.agent);
  assert.equal(outcome.outcome, 'failed');
  assert.match(outcome.reason!, /top: the shelf fell over/);
  shelf.sources.top = { a: 1, b: 2 };
  await bench.run(shelf.agent);
  assert.equal(bench.batches('shelf').length, 1, 'a half-read list looked like removals');
  const receipt = [...bench.batches('receipts')[1]!.events()][0]!;
  assert.equal(receipt.data!.outcome, 'failed');
});

test('a source that is absent, or fails, keeps its items while the others go on', async (t) => {
  const bench = new Bench(t);
  const shelf = new Shelf({ top: { a: 1 }, low: { z: 9 } });
  await bench.run(shelf.agent);
  for (const gone of [
    () => absent('no such shelf'),
    () => {
      throw new Error('dark');
    },
  ]) {
    shelf.sources.low = gone;
    shelf.sources.top = { ...(shelf.sources.top as Things), [`x${bench.now.getTime()}`]: 5 };
    await bench.run(shelf.agent);
    bench.later(1000);
  }
  assert.deepEqual(
    bench
      .batches('shelf')
      .slice(1)
      .flatMap(told)
      .map((line) => line.split(' ')[0]),
    ['put', 'put'],
  );
});

test('items of a source that is read for the first time later are present, not put', async (t) => {
  const bench = new Bench(t);
  const shelf = new Shelf({ top: { a: 1 }, low: () => absent('not yet') });
  await bench.run(shelf.agent);
  shelf.sources.low = { z: 9 };
  await bench.run(shelf.agent);
  assert.deepEqual(told(bench.batches('shelf')[1]), ['present low/z']);
});

test('an agent whose sources are all absent writes nothing but a receipt that says so', async (t) => {
  const bench = new Bench(t);
  const outcome = await bench.run(new Shelf({ top: () => absent('no shelf here') }).agent);
  assert.equal(outcome.outcome, 'absent');
  assert.equal(bench.batches('shelf').length, 0);
  const [event] = [...bench.batches('receipts')[0]!.events()];
  assert.deepEqual(event!.data!.sources, [{ name: 'top', status: 'absent', reason: 'no shelf here' }]);
});

test('several things that happened to one item are told one by one, and replay to the same state', async (t) => {
  const bench = new Bench(t);
  const fields = [
    { n: 1, label: 'red' },
    { n: 2, label: 'blue' },
  ];
  let turn = 0;
  const agent = defineInventory({
    name: 'steps',
    summary: 'one item',
    every: '1h',
    options: z.strictObject({}),
    fields: z.strictObject({ n: z.number(), label: z.string() }),
    actions: { counted: 'n', painted: 'label' },
    describe: (): Step<{ n: number; label: string }>[] => [
      { action: 'counted', fields: ['n'] },
      { action: 'painted', time: '2026-11-24T09:59:00.000Z' },
    ],
    sources: { one: () => [{ key: 'it', fields: fields[turn]! }] },
  }) as Agent;
  await bench.run(agent);
  turn = 1;
  await bench.run(agent);
  assert.deepEqual(
    [...bench.batches('steps')[1]!.events()].map(({ action, time, before, after }) => ({
      action,
      time,
      before,
      after,
    })),
    [
      { action: 'counted', time: bench.now.toISOString(), before: fields[0], after: { n: 2, label: 'red' } },
      {
        action: 'painted',
        time: '2026-11-24T09:59:00.000Z',
        before: { n: 2, label: 'red' },
        after: fields[1],
      },
    ],
  );
});

test('an agent that is not due is left alone, and one whose clock went back is due', async (t) => {
  const bench = new Bench(t);
  const shelf = new Shelf({ top: { a: 1 } });
  await bench.run(shelf.agent, { onlyDue: true });
  bench.later(1_800_000);
  assert.equal((await bench.run(shelf.agent, { onlyDue: true })).outcome, 'not-due');
  bench.later(1_800_000);
  assert.equal((await bench.run(shelf.agent, { onlyDue: true })).outcome, 'ok');
  bench.later(-31_536_000_000);
  assert.equal((await bench.run(shelf.agent, { onlyDue: true })).outcome, 'ok');
});

test('an agent that another process is running is left alone', async (t) => {
  const bench = new Bench(t);
  const shelf = new Shelf({ top: { a: 1 } });
  await bench.run(shelf.agent);
  using _lock = takeLock(join(bench.paths.lib, 'agents/shelf/lock'));
  assert.equal((await bench.run(shelf.agent)).outcome, 'busy');
});

test('a source that never answers is given up at its deadline', async (t) => {
  const bench = new Bench(t);
  const agent = defineInventory({
    ...(new Shelf({}).agent as object),
    name: 'stuck',
    sources: {
      never: async function* () {
        await new Promise(() => {});
        yield { key: 'x', fields: { n: 1 } };
      },
    },
  } as never) as Agent;
  const keepAlive = setTimeout(() => {}, 10_000);
  const outcome = await bench.run(agent, { timeoutMs: 50 });
  clearTimeout(keepAlive);
  assert.equal(outcome.outcome, 'failed');
  assert.match(outcome.reason!, /not done within 0.05 s/);
});

test('another tree below --rootfs begins a new epoch instead of looking like changes', async (t) => {
  const bench = new Bench(t);
  const shelf = new Shelf({ top: { a: 1 } });
  await bench.run(shelf.agent);
  bench.rootfs = temporary(t);
  shelf.sources.top = { b: 2 };
  bench.later(1000);
  await bench.run(shelf.agent);
  const [first, second] = bench.batches('shelf');
  assert.notEqual(first!.header.epoch, second!.header.epoch);
  assert.deepEqual([second!.header.seq, second!.header.kind], [1, 'snapshot']);
});

test('P1: what a crash leaves before the commit is as if it had not run, what it leaves behind it is finished with the same bytes', async (t) => {
  const bench = new Bench(t);
  const shelf = new Shelf({ top: { a: 1 } });
  await bench.run(shelf.agent);
  const name = readdirSync(join(bench.paths.out, 'new')).find((file) => file.startsWith('shelf.'))!;
  const bytes = readFileSync(join(bench.paths.out, 'new', name));
  // As if killed after state.json was committed, before the batch was moved from tmp to new.
  renameSync(join(bench.paths.out, 'new', name), join(bench.paths.out, 'tmp', name));
  // As if another, uncommitted batch had been staged.
  const stray = name.replace('0000000001', '0000000002');
  writeFileSync(join(bench.paths.out, 'tmp', stray), 'half');
  await bench.run(shelf.agent);
  assert.ok(readFileSync(join(bench.paths.out, 'new', name)).equals(bytes));
  assert.equal(existsSync(join(bench.paths.out, 'tmp', stray)), false);
  assert.equal(bench.batches('shelf').length, 1);
});

test('an agent whose state cannot even be opened is told in the receipt, and the others run', async (t) => {
  const bench = new Bench(t);
  mkdirSync(join(bench.paths.lib, 'agents'), { recursive: true });
  writeFileSync(join(bench.paths.lib, 'agents/shelf'), 'a file in place of the directory');
  const outcome = await bench.run(new Shelf({ top: { a: 1 } }).agent);
  assert.equal(outcome.outcome, 'failed');
  assert.match(outcome.reason!, /cannot lock .*shelf\/lock/);
  assert.equal(bench.batches('receipts').length, 1);
});

test('damaged state stops the agent with a way out, and is not overwritten', async (t) => {
  const bench = new Bench(t);
  const shelf = new Shelf({ top: { a: 1 } });
  await bench.run(shelf.agent);
  const path = join(bench.paths.lib, 'agents/shelf/state.json');
  writeFileSync(path, '\0\0\0\0');
  const outcome = await bench.run(shelf.agent);
  assert.equal(outcome.outcome, 'failed');
  assert.match(outcome.reason!, /state\.json is damaged: .*move .* away/);
  assert.equal(readFileSync(path, 'latin1'), '\0\0\0\0');
  rmSync(path);
  assert.equal((await bench.run(shelf.agent)).outcome, 'ok');
});

test('a baseline that lost its end stops the agent: what is missing in it must not look installed', async (t) => {
  const bench = new Bench(t);
  const shelf = new Shelf({ top: { a: 1, b: 2 } });
  await bench.run(shelf.agent);
  const directory = join(bench.paths.lib, 'agents/shelf');
  const path = join(directory, readdirSync(directory).find((name) => name.startsWith('baseline.'))!);
  writeFileSync(path, `${readFileSync(path, 'utf8').split('\n')[0]}\n`);
  const outcome = await bench.run(shelf.agent);
  assert.equal(outcome.outcome, 'failed');
  assert.match(outcome.reason!, /baseline.* is damaged: not as it was written .*move .* away/);
  assert.equal(bench.batches('shelf').length, 1);
});

function counter(upTo: () => number, fail = () => false): Agent {
  return defineLog({
    name: 'counter',
    summary: 'numbers',
    every: '1h',
    options: z.strictObject({}),
    fields: z.strictObject({ n: z.number() }),
    actions: { counted: 'one more' },
    sources: {
      numbers: async function* (context, cursor): AsyncGenerator<LogEntry<{ n: number }>> {
        for (let n = ((cursor as number | undefined) ?? 0) + 1; n <= upTo(); n++) {
          yield { event: { time: context.now.toISOString(), action: 'counted', data: { n } }, cursor: n };
        }
        if (fail()) throw new Error('ran out of numbers');
      },
    },
  }) as Agent;
}

function numbers(bench: Bench): unknown[] {
  return bench.batches('counter').flatMap((batch) => [...batch.events()].map(({ data }) => data!.n));
}

test('a log goes on behind its cursor, and a long one is cut into several batches', async (t) => {
  const bench = new Bench(t);
  let upTo = 12_000;
  await bench.run(counter(() => upTo));
  assert.ok(bench.batches('counter').length >= 2);
  upTo = 12_003;
  await bench.run(counter(() => upTo));
  assert.deepEqual(
    numbers(bench),
    Array.from({ length: upTo }, (_, n) => n + 1),
  );
});

test('a log source that fails midway writes nothing of this run and reads it again', async (t) => {
  const bench = new Bench(t);
  let fails = true;
  const agent = counter(
    () => 5,
    () => fails,
  );
  assert.equal((await bench.run(agent)).outcome, 'failed');
  assert.equal(bench.batches('counter').length, 0);
  fails = false;
  await bench.run(agent);
  assert.deepEqual(numbers(bench), [1, 2, 3, 4, 5]);
});
