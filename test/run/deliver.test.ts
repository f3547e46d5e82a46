import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import * as z from 'zod';
import { type Paths, pathsBelow } from '../../src/config/paths.ts';
import { takeLock } from '../../src/lock.ts';
import { silentLog } from '../../src/log.ts';
import {
  type Answer,
  DELIVERED,
  DestinationDown,
  defineDispatcher,
  type Parcel,
} from '../../src/plugin/handler.ts';
import { type Delivered, deliver } from '../../src/run/deliver.ts';
import type { Post } from '../../src/run/post.ts';
import type { Batch } from '../../src/spool/batch.ts';
import { batchFile } from '../../src/spool/names.ts';
import { DEFAULT_QUOTA } from '../../src/spool/quota.ts';
import { Spool } from '../../src/spool/spool.ts';
import { FakeNode, plainEvent } from '../helpers/batches.ts';
import { temporary } from '../helpers/tree.ts';

type Deliver = (parcels: readonly Parcel[]) => Promise<Answer[]>;

class Yard {
  readonly paths: Paths;
  readonly spool: Spool;
  now = new Date('2026-11-24T10:00:00.000Z');

  constructor(t: TestContext) {
    this.paths = pathsBelow(temporary(t));
    this.spool = new Spool(this.paths.out);
  }

  async enter(...batches: Batch[]): Promise<void> {
    await this.spool.create();
    for (const batch of batches) await this.spool.enter(batchFile(batch.header), batch.bytes);
  }

  /** Puts batches there as fast as files can be written: nothing in these tests needs them to be durable. */
  async put(...batches: Batch[]): Promise<void> {
    await this.spool.create();
    for (const batch of batches)
      writeFileSync(join(this.spool.directory('new'), batchFile(batch.header)), batch.bytes);
  }

  async run(posts: Post[], only?: string[]): Promise<Delivered> {
    const signal = new AbortController().signal;
    const { paths, spool } = this;
    return deliver(
      {
        spool,
        stack: 'out',
        paths,
        store: {},
        quota: DEFAULT_QUOTA,
        log: silentLog,
        clock: () => this.now,
        random: () => 1,
        signal,
        print: () => {},
        only,
      },
      posts,
    );
  }

  ls(directory: string): string[] {
    const path = join(this.paths.out, directory);
    return existsSync(path)
      ? readdirSync(path)
          .filter((name) => !name.endsWith('.why.json'))
          .sort()
      : [];
  }
}

function post(name: string, take: Deliver, changes: Partial<Post> = {}): Post {
  const handler = defineDispatcher({
    name,
    summary: 'test',
    options: z.strictObject({}),
    open: async () => ({ deliver: take, close: async () => {} }),
  });
  return { name, handler, options: {}, agents: ['*'], deadlineMs: 5000, attempts: 3, ...changes };
}

const seqOf = ({ batch }: Parcel): number => batch.header.seq;
const takesAll =
  (taken: number[]): Deliver =>
  async (parcels) => {
    taken.push(...parcels.map(seqOf));
    return parcels.map(() => DELIVERED);
  };

function batches(count: number, agent = 'logins'): Batch[] {
  const node = new FakeNode();
  return Array.from({ length: count }, (_, n) => node.next(agent, 'log', [plainEvent(n)]));
}

test('every batch reaches each handler that wants it, in the order of its stream, and leaves the queue', async (t) => {
  const yard = new Yard(t);
  await yard.put(...batches(600));
  const taken: number[] = [];
  const { deliveries } = await yard.run([
    post('one', takesAll(taken), { deadlineMs: 60_000 }),
    post('none', takesAll([]), { agents: ['pack*'] }),
  ]);
  assert.deepEqual(
    taken,
    Array.from({ length: 600 }, (_, n) => n + 1),
  );
  assert.deepEqual(
    deliveries.map(({ handler, outcome, delivered }) => [handler, outcome, delivered]),
    [
      ['one', 'ok', 600],
      ['none', 'ok', 0],
    ],
  );
  assert.deepEqual(yard.ls('queue/one'), []);
});

test('P9: the first batches of a backlog are delivered before the last are routed', async (t) => {
  const yard = new Yard(t);
  await yard.put(...batches(1200));
  const waiting: number[] = [];
  const take: Deliver = async (parcels) => {
    waiting.push(yard.ls('new').length);
    return parcels.map(() => DELIVERED);
  };
  const { routed } = await yard.run([post('one', take, { deadlineMs: 60_000 })]);
  assert.equal(routed?.routed, 1200);
  assert.ok(waiting[0]! >= 600, `${waiting[0]} of 1200 were still in new`);
  assert.deepEqual(yard.ls('queue/one'), []);
});

test('what stops routing stops no handler: what is queued is delivered, and the error is told', async (t) => {
  const yard = new Yard(t);
  await yard.enter(...batches(2));
  await yard.spool.route([{ handler: 'one', wants: () => true }]);
  await yard.enter(...batches(1));
  // A file where routing makes the queue of another handler.
  writeFileSync(join(yard.paths.out, 'queue/two'), '');
  const taken: number[] = [];
  await assert.rejects(yard.run([post('one', takesAll(taken)), post('two', takesAll([]))]), /queue\/two/);
  assert.deepEqual(taken, [1, 2]);
  assert.equal(yard.ls('new').length, 1);
});

test('P4: a handler that is down delays only itself, backs off, and is tried again after its wait or when asked for', async (t) => {
  const yard = new Yard(t);
  await yard.enter(...batches(3));
  const taken: number[] = [];
  let up = false;
  const flaky = post('flaky', async (parcels) => {
    if (!up) throw new DestinationDown('no route to host');
    return parcels.map(() => DELIVERED);
  });
  const posts = [flaky, post('fine', takesAll(taken))];
  const [down, fine] = (await yard.run(posts)).deliveries;
  assert.equal(down!.outcome, 'down');
  assert.match(down!.reason!, /no route to host/);
  assert.equal(fine!.delivered, 3);
  assert.equal(yard.ls('queue/flaky').length, 3);
  up = true;
  assert.equal((await yard.run(posts)).deliveries[0]!.outcome, 'waiting');
  assert.equal((await yard.run(posts, ['flaky'])).deliveries[0]!.delivered, 3);
  up = false;
  await yard.enter(...batches(1, 'users'));
  assert.equal((await yard.run(posts)).deliveries[0]!.outcome, 'down');
  up = true;
  yard.now = new Date(yard.now.getTime() + 3_600_000);
  assert.equal((await yard.run(posts)).deliveries[0]!.delivered, 1);
});

test('P4: one poison batch is set aside alone after its attempts, the rest of its group is delivered', async (t) => {
  const yard = new Yard(t);
  await yard.enter(...batches(5));
  const taken: number[] = [];
  const take: Deliver = async (parcels) => {
    if (parcels.some((parcel) => seqOf(parcel) === 3)) throw new Error('cannot digest 3');
    return takesAll(taken)(parcels);
  };
  const posts = [post('picky', take)];
  const counts = [];
  for (let n = 0; n < 3; n++) counts.push((await yard.run(posts)).deliveries[0]!);
  assert.deepEqual(taken, [1, 2, 4, 5]);
  assert.deepEqual(
    counts.map(({ delivered, deferred, failed }) => [delivered, deferred, failed]),
    [
      [4, 1, 0],
      [0, 1, 0],
      [0, 0, 1],
    ],
  );
  const [failed] = yard.ls('failed/picky');
  const why = JSON.parse(readFileSync(join(yard.paths.out, 'failed/picky', `${failed}.why.json`), 'utf8'));
  assert.deepEqual([why.reason, why.attempts, why.handler], ['cannot digest 3', 3, 'picky']);
});

test('a file that a person takes out of a queue at work is not delivered, though it has just been routed', async (t) => {
  const yard = new Yard(t);
  await yard.put(...batches(3));
  const taken: number[] = [];
  const take: Deliver = async (parcels) => {
    for (const name of yard.ls('queue/one').filter((each) => each.includes('.0000000002.')))
      unlinkSync(join(yard.spool.directory('queue', 'one'), name));
    return takesAll(taken)(parcels);
  };
  const one = post('one', take, { deadlineMs: 60_000 });
  const { deliveries } = await yard.run([{ ...one, handler: { ...one.handler, group: 1 } }]);
  assert.deepEqual([deliveries[0]!.outcome, taken], ['ok', [1, 3]]);
});

test('a rejected batch goes to failed at once, with the reason', async (t) => {
  const yard = new Yard(t);
  await yard.enter(...batches(2));
  const picky = post('picky', async (parcels) =>
    parcels.map((parcel) => (seqOf(parcel) === 1 ? { status: 'rejected', reason: 'too old' } : DELIVERED)),
  );
  const { deliveries } = await yard.run([picky]);
  assert.deepEqual([deliveries[0]!.delivered, deliveries[0]!.failed], [1, 1]);
  assert.equal(yard.ls('failed/picky').length, 1);
});

test('a segment leaves the queue when each of its batches is delivered or a file of its own', async (t) => {
  const yard = new Yard(t);
  await yard.spool.create();
  const all = [...batches(3), ...batches(1, 'packages')];
  await yard.spool.enter('segment.x.0000000001.jsonl', Buffer.concat(all.map(({ bytes }) => bytes)));
  const seen: string[] = [];
  const picky = post(
    'picky',
    async (parcels) =>
      parcels.map((parcel) => {
        seen.push(`${parcel.batch.header.agent} ${seqOf(parcel)}`);
        return seqOf(parcel) === 1
          ? DELIVERED
          : { status: seqOf(parcel) === 2 ? 'deferred' : 'rejected', reason: 'no' };
      }),
    { agents: ['logins'] },
  );
  await yard.run([picky]);
  assert.deepEqual(seen, ['logins 1', 'logins 2', 'logins 3']);
  assert.deepEqual(yard.ls('queue/picky'), [batchFile(all[1]!.header)]);
  assert.deepEqual(yard.ls('failed/picky'), [batchFile(all[2]!.header)]);
});

test('P2: a batch of an agent called `segment` that is deferred stays, as any other', async (t) => {
  const yard = new Yard(t);
  const [batch] = batches(1, 'segment');
  await yard.enter(batch!);
  const busy = post('busy', async () => [{ status: 'deferred', reason: 'later' }]);
  assert.equal((await yard.run([busy])).deliveries[0]!.deferred, 1);
  assert.deepEqual(yard.ls('queue/busy'), [batchFile(batch!.header)]);
  const taken: number[] = [];
  await yard.run([post('busy', takesAll(taken))]);
  assert.deepEqual(taken, [1]);
});

test('P4: in a file of several batches under the name of one, each is answered for by itself', async (t) => {
  const yard = new Yard(t);
  await yard.spool.create();
  const all = batches(3);
  const name = batchFile(all[0]!.header);
  await yard.spool.enter(name, Buffer.concat(all.map(({ bytes }) => bytes)));
  const answers: Answer[] = [
    { status: 'deferred', reason: 'later' },
    DELIVERED,
    { status: 'rejected', reason: 'never' },
  ];
  await yard.run([post('picky', async (parcels) => parcels.map((parcel) => answers[seqOf(parcel) - 1]!))]);
  assert.deepEqual(yard.ls('queue/picky'), [name.replace('.jsonl', '~2.jsonl')]);
  assert.deepEqual(yard.ls('failed/picky'), [batchFile(all[2]!.header)]);
});

test('P9: a handler is never given more batches at once than it asks for, however many a file holds', async (t) => {
  const yard = new Yard(t);
  await yard.spool.create();
  const all = batches(10);
  await yard.spool.enter('segment.x.0000000001.jsonl', Buffer.concat(all.map(({ bytes }) => bytes)));
  const lots: number[] = [];
  const take: Deliver = async (parcels) => {
    lots.push(parcels.length);
    return parcels.map(() => DELIVERED);
  };
  const one = post('one', take);
  const { deliveries } = await yard.run([{ ...one, handler: { ...one.handler, group: 4 } }]);
  assert.deepEqual([lots, deliveries[0]!.delivered, yard.ls('queue/one')], [[4, 4, 2], 10, []]);
});

test('P9: what a handler does not want of its files counts too, as it is held with them', async (t) => {
  const yard = new Yard(t);
  await yard.spool.create();
  const node = new FakeNode();
  const large = { ...plainEvent(), data: { text: 'x'.repeat(3_000_000) } };
  for (let n = 0; n < 8; n++) {
    const [wanted, other] = [node.next('logins', 'log', [plainEvent(n)]), node.next('other', 'log', [large])];
    await yard.spool.enter(`segment.run.000000000${n}.jsonl`, Buffer.concat([wanted.bytes, other.bytes]));
  }
  const sizes: number[] = [];
  const take: Deliver = async (parcels) => {
    sizes.push(parcels.length);
    return parcels.map(() => DELIVERED);
  };
  const posts = [post('one', take, { agents: ['logins'] })];
  // Routed first, so that all of it waits.
  await yard.run(posts, []);
  await yard.run(posts);
  assert.deepEqual(sizes, [3, 3, 2]);
});

test('a handler that never answers is given up, and what it had stays in its queue', async (t) => {
  const yard = new Yard(t);
  await yard.enter(...batches(1));
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { promise: handedOver, resolve } = Promise.withResolvers<void>();
  const never = (): Promise<never> => {
    resolve();
    return new Promise(() => {});
  };
  const work = yard.run([post('stuck', never, { deadlineMs: 1000 })]);
  await handedOver;
  const keepAlive = setInterval(() => t.mock.timers.tick(10_000), 20);
  const { deliveries } = await work;
  clearInterval(keepAlive);
  assert.equal(deliveries[0]!.outcome, 'down');
  assert.equal(yard.ls('queue/stuck').length, 1);
});

test('P8: a handler that another process drives is left alone', async (t) => {
  const yard = new Yard(t);
  await yard.enter(...batches(1));
  using _lock = takeLock(join(yard.paths.lib, 'handlers/out/one.lock'));
  assert.equal((await yard.run([post('one', takesAll([]))])).deliveries[0]!.outcome, 'busy');
  assert.equal(yard.ls('queue/one').length, 1);
});

test('damage that appears in a queued segment is set aside alone, and the whole batches in it are delivered', async (t) => {
  const yard = new Yard(t);
  await yard.spool.create();
  const [first, second, third] = batches(3).map(({ bytes }) => bytes);
  await yard.spool.enter('segment.x.0000000001.jsonl', Buffer.concat([first!, second!, third!]));
  const taken: number[] = [];
  const down = post('one', async () => {
    throw new DestinationDown('not now');
  });
  await yard.run([down]);
  const spoiled = Buffer.from(second!);
  spoiled[spoiled.length - 20]! ^= 1;
  writeFileSync(
    join(yard.paths.out, 'queue/one/segment.x.0000000001.jsonl'),
    Buffer.concat([first!, spoiled, third!]),
  );
  await yard.run([post('one', takesAll(taken))], ['one']);
  assert.deepEqual(taken, [1, 3]);
  assert.deepEqual(yard.ls('corrupt'), ['segment.x.0000000001.jsonl']);
});

test('P4: a destination that takes some and has no room for the rest counts nothing against them, however often', async (t) => {
  const yard = new Yard(t);
  await yard.enter(...batches(3));
  let room = 1;
  const taken: number[] = [];
  const tight = post('one', async (parcels) =>
    parcels.map(({ batch }) => {
      if (taken.length >= room) return { status: 'refused', reason: 'queue full' };
      taken.push(batch.header.seq);
      return DELIVERED;
    }),
  );
  const [first] = (await yard.run([tight])).deliveries;
  assert.deepEqual([first!.outcome, first!.delivered, first!.reason], ['down', 1, 'queue full']);
  assert.deepEqual((await yard.run([tight])).deliveries[0]!.outcome, 'waiting', 'backs off');
  for (let n = 0; n < 20; n++) await yard.run([tight], ['one']);
  assert.deepEqual([yard.ls('queue/one').length, yard.ls('failed/one')], [2, []]);
  room = 3;
  await yard.run([tight], ['one']);
  assert.deepEqual(taken, [1, 2, 3]);
});

test('P4: a handler whose own state is broken is told, and the others deliver', async (t) => {
  const yard = new Yard(t);
  await yard.enter(...batches(1));
  const directory = join(yard.paths.lib, 'handlers/out');
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'one.lock'), 'this is no lock file. '.repeat(100));
  const taken: number[] = [];
  const { deliveries } = await yard.run([post('one', takesAll([])), post('two', takesAll(taken))]);
  assert.deepEqual(
    deliveries.map(({ outcome }) => outcome),
    ['broken', 'ok'],
  );
  assert.match(deliveries[0]!.reason!, /cannot lock .*one\.lock: .*it may be removed/);
  assert.deepEqual(taken, [1]);
});

test('P4: a queued file that cannot be read is given up alone', async (t) => {
  const yard = new Yard(t);
  await yard.enter(...batches(3));
  await yard.run([
    post('one', async () => {
      throw new DestinationDown('not now');
    }),
  ]);
  const read = yard.spool.disk.read;
  t.mock.method(yard.spool.disk, 'read', async (path: string) => {
    if (path.includes('.0000000001.')) throw Object.assign(new Error('i/o error'), { code: 'EIO' });
    return read(path);
  });
  const taken: number[] = [];
  const [delivery] = (await yard.run([post('one', takesAll(taken))], ['one'])).deliveries;
  assert.deepEqual([taken, delivery!.outcome, delivery!.failed], [[2, 3], 'ok', 1]);
  assert.equal(yard.ls('failed/one').length, 1);
});

test('P8: of two runs at once one routes, the other leaves it to that one', async (t) => {
  const yard = new Yard(t);
  await yard.enter(...batches(3));
  const routing = Promise.withResolvers<void>();
  const go = Promise.withResolvers<void>();
  const { link } = yard.spool.disk;
  t.mock.method(yard.spool.disk, 'link', async (from: string, to: string) => {
    routing.resolve();
    await go.promise;
    return link(from, to);
  });
  const taken: number[] = [];
  const first = yard.run([post('one', takesAll(taken))]);
  await routing.promise;
  const second = await yard.run([post('one', takesAll(taken))]);
  go.resolve();
  assert.deepEqual([(await first).routed?.routed, second.routed], [3, undefined]);
  assert.deepEqual(taken, [1, 2, 3]);
});

test('P4: a destination that failed while the clock was a year ahead is tried again once the clock is right', async (t) => {
  const yard = new Yard(t);
  await yard.enter(...batches(1));
  const right = yard.now;
  yard.now = new Date(right.getTime() + 365 * 86_400_000);
  const down = post('one', async () => {
    throw new DestinationDown('no route');
  });
  await yard.run([down]);
  yard.now = right;
  const taken: number[] = [];
  const { deliveries } = await yard.run([post('one', takesAll(taken))]);
  assert.deepEqual([deliveries[0]!.outcome, taken], ['ok', [1]]);
});
