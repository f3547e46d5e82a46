import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import * as z from 'zod';
import { type Agent, defineInventory, defineLog, type LogEntry } from '../../src/plugin/agent.ts';
import { NoReceipt } from '../../src/run/receipt.ts';
import type { Batch } from '../../src/spool/batch.ts';
import { canonical, stateDigest } from '../../src/spool/canonical.ts';
import { DEFAULT_QUOTA, type Quota } from '../../src/spool/quota.ts';
import { Bench } from '../helpers/bench.ts';
import { fill, smallDisk } from '../helpers/small-disk.ts';

/** Nothing but the disk's own end is a limit. */
const UNLIMITED: Quota = {
  bytes: {},
  files: Number.MAX_SAFE_INTEGER,
  free: { most: 0 },
  freeInodes: { most: 0 },
};

/** Counts up to what the test says, an event each, `padding` bytes long. */
function counter(upTo: () => number, padding = 0): Agent {
  return defineLog({
    name: 'counter',
    summary: 'numbers',
    every: '1h',
    options: z.strictObject({}),
    fields: z.strictObject({ n: z.number(), padding: z.string() }),
    actions: { counted: 'one more' },
    sources: {
      numbers: function* (context, cursor): Generator<LogEntry<{ n: number; padding: string }>> {
        for (let n = ((cursor as number | undefined) ?? 0) + 1; n <= upTo(); n++) {
          const data = { n, padding: 'x'.repeat(padding) };
          yield { event: { time: context.now.toISOString(), action: 'counted', data }, cursor: n };
        }
      },
    },
  }) as Agent;
}

function shelf(things: () => Record<string, string>): Agent {
  return defineInventory({
    name: 'shelf',
    summary: 'things',
    every: '1h',
    options: z.strictObject({}),
    fields: z.strictObject({ n: z.string() }),
    actions: { put: 'put', taken: 'taken', moved: 'moved' },
    describe: ({ before, after }) => ({
      action: before === undefined ? 'put' : after === undefined ? 'taken' : 'moved',
    }),
    sources: {
      top: () => Object.entries(things()).map(([key, n]) => ({ key, fields: { n } })),
    },
  }) as Agent;
}

const numbers = (bench: Bench): unknown[] => bench.events('counter').map(({ data }) => data!.n);
const upTo = (last: number): number[] => Array.from({ length: last }, (_, n) => n + 1);

/** Every batch continues the one before, and replaying them gives the digest that each names. */
function assertWhole(batches: readonly Batch[]): void {
  const state = new Map<string, string>();
  let prev: string | null = null;
  for (const [index, { header, trailer, events }] of batches.entries()) {
    assert.deepEqual(
      [header.seq, header.prev],
      [index + 1, prev],
      `batch ${index + 1} does not continue the one before`,
    );
    prev = trailer.sha256;
    if (header.kind === 'snapshot') state.clear();
    for (const { item, after } of events())
      if (item !== undefined) after ? state.set(item, canonical(after)) : state.delete(item);
    if (header.state) assert.deepEqual(header.state, { items: state.size, digest: stateDigest(state) });
  }
}

/** The receipt that was written last, its first event's data. */
function lastReceipt(bench: Bench) {
  return bench.events('receipts').at(-1)!.data!;
}

test('P5: an agent over the quota stops before its cursor moves, its receipt says so, and it goes on by itself', async (t) => {
  const bench = new Bench(t);
  let last = 3;
  const agent = counter(() => last);
  await bench.run(agent);
  const state = (): string => readFileSync(join(bench.paths.lib, 'agents/counter/state.json'), 'utf8');
  const before = state();
  // Two small files lie there: a third is one too many.
  bench.quota = { ...DEFAULT_QUOTA, bytes: { most: 9000 } };
  last = 6;
  bench.later(60_000);
  const { outcome, cause, reason } = await bench.run(agent);
  assert.deepEqual([outcome, cause], ['failed', 'quota']);
  assert.match(
    reason!,
    /spool .*out is full: it holds \d+ KiB in 2 files, of 8\.8 KiB in \d+ files .*dsac spool stat/,
  );
  assert.equal(state(), before, 'the cursor moved although nothing could be kept');
  bench.quota = DEFAULT_QUOTA;
  bench.later(60_000);
  assert.equal((await bench.run(agent)).outcome, 'ok');
  assert.deepEqual(numbers(bench), upTo(6));
});

test('P5: while the quota is full receipts say so out of the reserve; the first one after that tells since when there was none', async (t) => {
  const bench = new Bench(t);
  let last = 0;
  const agent = counter(() => last);
  for (last = 1; last <= 10; last++) await bench.run(agent);
  // 20 files lie there; the reserve is 2 more.
  bench.quota = { ...DEFAULT_QUOTA, files: 20 };
  for (let n = 0; n < 2; n++) {
    bench.later(60_000);
    assert.equal((await bench.run(agent)).cause, 'quota');
    const { outcome, cause, reason } = lastReceipt(bench);
    assert.deepEqual([outcome, cause], ['failed', 'quota']);
    assert.match(String(reason), /is full: it holds/);
  }
  for (let n = 0; n < 2; n++) {
    bench.later(60_000);
    await assert.rejects(
      bench.run(agent),
      (error) => error instanceof NoReceipt && error.outcomes[0]!.cause === 'quota',
    );
  }
  bench.quota = DEFAULT_QUOTA;
  bench.later(60_000);
  await bench.run(agent);
  const { since, last: until, runs, reason } = lastReceipt(bench).stopped as Record<string, unknown>;
  assert.deepEqual([since, until, runs], ['2026-11-24T10:03:00.000Z', '2026-11-24T10:04:00.000Z', 2]);
  assert.match(String(reason), /is full: it holds/);
  bench.later(60_000);
  await bench.run(agent);
  assert.equal(lastReceipt(bench).stopped, undefined, 'told twice');
  assert.deepEqual(numbers(bench), upTo(11));
});

for (const what of ['bytes', 'inodes'] as const) {
  test(`P5: a disk without free ${what} stops agents where they are; with room again they go on, nothing lost, nothing twice`, async (t) => {
    const disk = smallDisk(t, 'size=4m,nr_inodes=200');
    if (disk === undefined) return;
    const bench = new Bench(t, disk);
    let last = 3;
    const things: Record<string, string> = { a: '1' };
    const agents = [counter(() => last), shelf(() => things)];
    for (const agent of agents) await bench.run(agent);
    for (const quota of [UNLIMITED, DEFAULT_QUOTA]) {
      bench.quota = quota;
      const makeRoom = fill(disk, what);
      last += 3;
      things[`b${last}`] = '2';
      for (const agent of agents) {
        bench.later(60_000);
        const error = await bench.run(agent).then(
          () => undefined,
          (reason: unknown) => reason,
        );
        assert.ok(error instanceof NoReceipt, `${error}`);
        assert.equal(error.outcomes[0]!.cause, 'quota', error.outcomes[0]!.reason);
        assert.match(
          error.message,
          what === 'bytes'
            ? /ENOSPC|its file system has .*B left/
            : /ENOSPC|its file system has .* inodes left/,
        );
      }
      assert.deepEqual(
        readdirSync(join(bench.paths.out, 'tmp')),
        [],
        'what could not be written whole still takes room',
      );
      makeRoom();
      bench.later(60_000);
      for (const agent of agents) assert.equal((await bench.run(agent)).outcome, 'ok');
      assert.equal(
        bench.events('receipts').filter(({ data }) => data!.stopped).length,
        quota === UNLIMITED ? 1 : 2,
      );
    }
    assert.deepEqual(numbers(bench), upTo(last));
    for (const name of ['counter', 'shelf', 'receipts']) assertWhole(bench.batches(name));
  });
}

test('P5: a disk that fills up within a run keeps what was committed, and the rest is read again', async (t: TestContext) => {
  const disk = smallDisk(t, 'size=12m');
  if (disk === undefined) return;
  const bench = new Bench(t, disk);
  bench.quota = UNLIMITED;
  const agent = counter(() => 400, 40_000);
  const { cause } = await bench.run(agent).catch((error: NoReceipt) => error.outcomes[0]!);
  assert.equal(cause, 'quota');
  const kept = numbers(bench).length;
  assert.ok(kept > 0 && kept < 400, `${kept} events were kept`);
});
