/** What an agent remembers, against clocks that jump and disks that spoil it. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import * as z from 'zod';
import { type Agent, defineInventory } from '../../src/plugin/agent.ts';
import { type AgentOutcome, NoReceipt } from '../../src/run/receipt.ts';
import { Bench } from '../helpers/bench.ts';
import { tree } from '../helpers/tree.ts';

const HOUR = 3_600_000;
const YEAR = 365 * 24 * HOUR;

function shelf(things: Record<string, number>): Agent {
  return defineInventory({
    name: 'shelf',
    summary: 'things',
    every: '1h',
    options: z.strictObject({}),
    fields: z.strictObject({ n: z.number() }),
    actions: { put: 'put', taken: 'taken', moved: 'moved' },
    describe: ({ before, after }) => ({
      action: before === undefined ? 'put' : after === undefined ? 'taken' : 'moved',
    }),
    sources: { top: () => Object.entries(things).map(([key, n]) => ({ key, fields: { n } })) },
  }) as Agent;
}

for (const [what, jump, snapshots] of [
  ['an hour forth', HOUR, 1],
  ['an hour back', -HOUR, 2],
  ['a year forth', YEAR, 2],
  ['a year back', -YEAR, 2],
] as const) {
  test(`P6: a clock that jumps ${what} delays no snapshot for longer than its interval, and loses no change`, async (t) => {
    const bench = new Bench(t);
    const things: Record<string, number> = { a: 1 };
    await bench.run(shelf(things));
    bench.later(jump);
    things.b = 2;
    await bench.run(shelf(things), { onlyDue: true });
    const kinds = (): string[] => bench.batches('shelf').map(({ header }) => header.kind);
    assert.equal(kinds().filter((kind) => kind === 'snapshot').length, snapshots);
    assert.equal(kinds().filter((kind) => kind === 'changes').length, 1);
    // And back to where it was, as a clock that was set wrong is set right.
    bench.later(-jump);
    for (let hour = 0; hour <= 25; hour++) {
      bench.later(HOUR);
      await bench.run(shelf(things), { onlyDue: true });
    }
    assert.ok(
      kinds().filter((kind) => kind === 'snapshot').length >= snapshots + 1,
      'a day without a snapshot',
    );
    assert.deepEqual(
      bench.batches('shelf').map(({ header }) => header.seq),
      kinds().map((_, index) => index + 1),
    );
  });
}

for (const [what, spoil] of [
  ['is full of NUL', (path: string) => writeFileSync(path, Buffer.alloc(readFileSync(path).length))],
  ['is cut', (path: string) => truncateSync(path, Math.floor(readFileSync(path).length / 2))],
  ['is empty', (path: string) => truncateSync(path, 0)],
  [
    'has one letter changed',
    (path: string) =>
      writeFileSync(path, readFileSync(path, 'utf8').replace('"a"', '"b"').replace('"seq":2', '"seq":-2')),
  ],
  [
    'has one letter changed that still makes sense',
    (path: string) =>
      writeFileSync(
        path,
        readFileSync(path, 'utf8').replace('"known":["top', '"known":["tip').replace('"a"', '"b"'),
      ),
  ],
  ['is gone', (path: string) => rmSync(path)],
] as const) {
  test(`P5: an agent whose state or baseline ${what} stops and says how to go on, or begins a new epoch; it never goes on in silence`, async (t) => {
    for (const file of ['state.json', 'baseline.'] as const) {
      const bench = new Bench(t);
      await bench.run(shelf({ a: 1 }));
      bench.later(HOUR);
      await bench.run(shelf({ a: 2 }));
      const folder = join(bench.paths.lib, 'agents/shelf');
      spoil(
        join(
          folder,
          readdirSync(folder)
            .sort()
            .findLast((name) => name.startsWith(file))!,
        ),
      );
      bench.later(HOUR);
      const { outcome, reason } = await bench.run(shelf({ a: 3, c: 1 }));
      const epochs = (): number => new Set(bench.batches('shelf').map(({ header }) => header.epoch)).size;
      if (file === 'state.json' && what === 'is gone') {
        assert.deepEqual([outcome, epochs()], ['ok', 2]);
        continue;
      }
      assert.equal(outcome, 'failed');
      assert.match(reason!, /is damaged: .*\(move .*shelf away: the agent then starts a new epoch/);
      const told = bench.events('receipts').at(-1)!.data!;
      assert.deepEqual([told.outcome, told.reason], ['failed', reason]);
      assert.equal(bench.batches('shelf').length, 2);
      rmSync(folder, { recursive: true });
      bench.later(HOUR);
      assert.equal((await bench.run(shelf({ a: 3, c: 1 }))).outcome, 'ok');
      assert.equal(epochs(), 2);
    }
  });
}

test('P5: receipts whose own state is damaged stop the run with a way out, and what agents had found is kept', async (t) => {
  const bench = new Bench(t);
  await bench.run(shelf({ a: 1 }));
  writeFileSync(join(bench.paths.lib, 'agents/receipts/state.json'), '\0\0\0');
  bench.later(HOUR);
  await assert.rejects(bench.run(shelf({ a: 2 })), (error) => {
    assert.ok(error instanceof NoReceipt);
    assert.deepEqual([error.kind, error.outcomes[0]!.outcome], ['data', 'ok']);
    assert.match(`${error.message} ${error.hint}`, /receipts\/state\.json is damaged: .* move .* away/);
    return true;
  });
  assert.equal(bench.batches('shelf').length, 2);
});

test('P5: a machine that was renamed, or cloned and given an id of its own, says once what it was', async (t) => {
  const bench = new Bench(t);
  const rootfs = tree(t, { 'etc/machine-id': 'aaaa\n' });
  bench.rootfs = rootfs;
  const was = async (): Promise<unknown> => {
    bench.later(HOUR);
    await bench.run(shelf({ a: 1 }));
    return bench.events('receipts').at(-1)!.data!.was;
  };
  assert.equal(await was(), undefined);
  const { machine } = bench.batches('receipts')[0]!.header;
  bench.host = 'renamed';
  assert.deepEqual(await was(), { host: 'bench' });
  assert.equal(await was(), undefined);
  writeFileSync(join(rootfs, 'etc/machine-id'), 'bbbb\n');
  assert.deepEqual(await was(), { machine });
  assert.equal(await was(), undefined);
});

test('P2: a committed batch that lies in a tmp which is away for a run is published when it is back', async (t) => {
  const bench = new Bench(t);
  const { spool } = bench;
  const things: Record<string, number> = { a: 1 };
  const change = async (): Promise<AgentOutcome> => {
    things[`b${Object.keys(things).length}`] = 1;
    bench.later(HOUR);
    return bench.run(shelf(things));
  };
  const seqs = (): number[] => bench.batches('shelf').map(({ header }) => header.seq);
  await bench.run(shelf(things));
  const publish = spool.publish.bind(spool);
  spool.publish = async (name) => {
    if (name.startsWith('shelf.') && !readdirSync(spool.directory('new')).includes(name))
      throw new Error('the disk went away');
    return publish(name);
  };
  assert.equal((await change()).outcome, 'failed');
  spool.publish = publish;
  assert.deepEqual(seqs(), [1]);
  const tmp = spool.directory('tmp');
  renameSync(tmp, `${tmp}.away`);
  assert.equal((await change()).outcome, 'ok');
  assert.deepEqual(seqs(), [1, 3]);
  rmSync(tmp, { recursive: true });
  renameSync(`${tmp}.away`, tmp);
  assert.equal((await change()).outcome, 'ok');
  assert.deepEqual(seqs(), [1, 2, 3, 4]);
});
