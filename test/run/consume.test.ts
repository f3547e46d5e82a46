import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { zstdCompressSync } from 'node:zlib';
import type { ConfirmChannel, ConsumeMessage, Message, Options } from 'amqplib';
import { pack } from '../../src/amqp/message.ts';
import { type Log, silentLog } from '../../src/log.ts';
import { type Consumed, type ConsumeRun, consume, consumeSchema, setUp } from '../../src/run/consume.ts';
import { Intake } from '../../src/run/intake.ts';
import type { Batch } from '../../src/spool/batch.ts';
import { decode } from '../../src/spool/decode.ts';
import { realDisk } from '../../src/spool/disk.ts';
import { DEFAULT_QUOTA } from '../../src/spool/quota.ts';
import { Spool } from '../../src/spool/spool.ts';
import { FakeNode, plainEvent } from '../helpers/batches.ts';
import { silentPeer, slowBroker, wireTo } from '../helpers/peers.ts';
import { amqpUrl, type OwnQueue, ownQueue, servicesLeftOut } from '../helpers/services.ts';
import { fill, smallDisk } from '../helpers/small-disk.ts';
import { temporary } from '../helpers/tree.ts';

const needed = { skip: servicesLeftOut };
const realPort = Number(new URL(amqpUrl()).port) || 5672;

/** A centre: a queue of its own, a spool, and a connection of the test's own to look behind. */
class Centre {
  readonly own: OwnQueue;
  readonly spool: Spool;
  readonly channel: ConfirmChannel;
  readonly stop = new AbortController();
  log: Log = silentLog;

  private constructor(t: TestContext, channel: ConfirmChannel) {
    this.own = ownQueue(t);
    this.spool = new Spool(temporary(t));
    this.channel = channel;
  }

  static async make(t: TestContext): Promise<Centre> {
    const { default: amqplib } = await import('amqplib');
    const connection = await amqplib.connect(amqpUrl());
    t.after(() => connection.close());
    const centre = new Centre(t, await connection.createConfirmChannel());
    await setUp(consumeSchema.parse(centre.own), '/');
    return centre;
  }

  async send(body: Buffer, properties: Options.Publish = {}): Promise<void> {
    this.channel.publish(this.own.exchange, 'dsac.logins.x', body, { type: 'dsac.batch.v1', ...properties });
    await this.channel.waitForConfirms();
  }

  /** Sends `count` batches, as nodes do. */
  async fill(count: number): Promise<Batch[]> {
    const node = new FakeNode();
    const batches = Array.from({ length: count }, (_, n) => node.next('logins', 'log', [plainEvent(n)]));
    for (const batch of batches) {
      const { routingKey, body, properties } = pack(batch);
      this.channel.publish(this.own.exchange, routingKey, body, properties);
    }
    await this.channel.waitForConfirms();
    return batches;
  }

  /** Sends `count` batches that the queue then gives up on, as after too many deliveries. */
  async giveUp(count: number): Promise<Batch[]> {
    const batches = await this.fill(count);
    for (let n = 0; n < count; n++) {
      const message = await this.channel.get(this.own.queue);
      assert.ok(message);
      this.channel.nack(message, false, false);
    }
    const dead = `${this.own.queue}.dead`;
    for (let tries = 0; tries < 5000; tries++)
      if ((await this.channel.checkQueue(dead)).messageCount === count) return batches;
    return assert.fail(`${dead} never held ${count} messages`);
  }

  consume(more: Partial<ConsumeRun> = {}, options: object = {}): Promise<Consumed> {
    return consume({
      options: consumeSchema.parse({ ...this.own, ...options }),
      home: '/',
      spool: this.spool,
      log: this.log,
      signal: this.stop.signal,
      follow: false,
      quota: DEFAULT_QUOTA,
      ...more,
    });
  }

  /** Digests of all batches in the spool's `new`. */
  arrived(): string[] {
    const folder = this.spool.directory('new');
    return readdirSync(folder).flatMap((name) =>
      [...decode(readFileSync(join(folder, name)))].map(({ batch }) => batch!.trailer.sha256),
    );
  }

  /** What the queue still holds, and how many of it have been handed over before. It is empty then. */
  async left(): Promise<{ messages: number; redelivered: number }> {
    const { messageCount } = await this.channel.checkQueue(this.own.queue);
    const messages: ConsumeMessage[] = [];
    const all = Promise.withResolvers<void>();
    if (messageCount === 0) all.resolve();
    const take = (message: ConsumeMessage | null): void => {
      if (message) messages.push(message);
      if (messages.length >= messageCount) all.resolve();
    };
    const { consumerTag } = await this.channel.consume(this.own.queue, take, { noAck: true });
    await all.promise;
    await this.channel.cancel(consumerTag);
    return {
      messages: messages.length,
      redelivered: messages.filter(({ fields }) => fields.redelivered).length,
    };
  }
}

function digests(batches: readonly Batch[]): string[] {
  return batches.map(({ trailer }) => trailer.sha256);
}

test('consume empties the queue into segments and leaves; a second run finds nothing', needed, async (t) => {
  const centre = await Centre.make(t);
  const batches = await centre.fill(1200);
  const { messages, corrupt, segments } = await centre.consume();
  assert.deepEqual({ messages, corrupt }, { messages: 1200, corrupt: 0 });
  assert.ok(segments < 20, `${segments} segments: each costs an fsync`);
  assert.deepEqual(centre.arrived().sort(), digests(batches).sort());
  assert.equal((await centre.consume()).messages, 0);
  assert.deepEqual(await centre.left(), { messages: 0, redelivered: 0 });
});

test(
  'P2: consume does not leave before the queue is empty though a slow broker counts nothing in it',
  needed,
  async (t) => {
    const centre = await Centre.make(t);
    const batches = await centre.fill(60);
    const url = new URL(amqpUrl());
    url.port = String(await slowBroker(t, realPort, 400));
    const { messages } = await centre.consume({}, { url: url.href, prefetch: 20 });
    assert.equal(messages, 60);
    assert.deepEqual(centre.arrived().sort(), digests(batches).sort());
    assert.deepEqual(await centre.left(), { messages: 0, redelivered: 0 });
  },
);

test(
  'a run that is out of time finishes what it was handed, so that no message is handed over twice',
  needed,
  async (t) => {
    const centre = await Centre.make(t);
    const batches = await centre.fill(3000);
    for (const maxTimeMs of [1, 40, 80]) await centre.consume({ maxTimeMs }, { prefetch: 200 });
    const arrived = centre.arrived();
    assert.equal(new Set(arrived).size, arrived.length, 'some batches came twice');
    assert.deepEqual(await centre.left(), { messages: batches.length - arrived.length, redelivered: 0 });
  },
);

test(
  'messages that are no batch are set aside with their reason, and the rest arrives',
  needed,
  async (t) => {
    const centre = await Centre.make(t);
    const [before] = await centre.fill(1);
    await centre.send(Buffer.from('\x1b[2J poison'), { messageId: '../../etc/passwd' });
    await centre.send(before!.bytes, { type: 'something.else' });
    await centre.send(Buffer.from('no zstd'), { contentEncoding: 'zstd' });
    const [after] = await centre.fill(1);
    const { messages, batches, corrupt } = await centre.consume();
    assert.deepEqual({ messages, batches, corrupt }, { messages: 5, batches: 2, corrupt: 3 });
    assert.deepEqual(centre.arrived().sort(), digests([before!, after!]).sort());
    const folder = centre.spool.directory('corrupt');
    const names = readdirSync(folder).sort();
    assert.equal(names.length, 6, 'each with its reason');
    assert.equal(readFileSync(join(folder, names[0]!), 'latin1'), '\x1b[2J poison');
    const reasons = names
      .filter((name) => name.endsWith('.why.json'))
      .map((name) => JSON.parse(readFileSync(join(folder, name), 'utf8')).reason);
    assert.match(reasons.join('\n'), /not a batch header[\s\S]*something.else[\s\S]*not readable zstd/);
    assert.deepEqual(await centre.left(), { messages: 0, redelivered: 0 });
  },
);

test('P2: the same batch under a signature that does not hold takes nobody’s place', needed, async (t) => {
  const centre = await Centre.make(t);
  const node = new FakeNode();
  const [first, second] = [1, 2].map((n) => node.next('logins', 'log', [plainEvent(n)])) as [Batch, Batch];
  const forged = Buffer.from(first.bytes.toString().replace(first.trailer.sig!, second.trailer.sig!));
  for (const bytes of [forged, first.bytes, second.bytes]) await centre.send(bytes);
  await centre.consume();
  const folder = centre.spool.directory('new');
  const whole = readdirSync(folder).flatMap((name) =>
    [...decode(readFileSync(join(folder, name)))].flatMap(({ batch }) => batch ?? []),
  );
  assert.deepEqual(digests(whole).sort(), digests([first, second]).sort());
});

test(
  'P7: a message whose headers nest deeper than any stack is set aside, and what is behind it arrives',
  needed,
  async (t) => {
    const centre = await Centre.make(t);
    // Who sends it needs a deeper stack than whoever takes it has.
    const deep = `
    const amqplib = await import('amqplib');
    const connection = await amqplib.connect(process.argv[1]);
    const channel = await connection.createConfirmChannel();
    let nested = [];
    for (let n = 0; n < 10_000; n++) nested = [nested];
    channel.publish(process.argv[2], 'dsac.logins.x', Buffer.from('deep'), { type: 'dsac.batch.v1', headers: { nested } });
    await channel.waitForConfirms();
    await connection.close();`;
    const args = ['--stack-size=6000', '--input-type=module', '-e', deep, amqpUrl(), centre.own.exchange];
    const { status, stderr } = spawnSync(process.execPath, args, {
      cwd: import.meta.dirname,
      encoding: 'utf8',
    });
    assert.equal(status, 0, stderr);
    const behind = await centre.fill(2);
    const { messages, batches, corrupt } = await centre.consume();
    assert.deepEqual({ messages, batches, corrupt }, { messages: 3, batches: 2, corrupt: 1 });
    assert.deepEqual(centre.arrived().sort(), digests(behind).sort());
    assert.deepEqual(await centre.left(), { messages: 0, redelivered: 0 });
  },
);

test('P9: small messages that unfold to very much are not all held at once', async (t) => {
  const spool = new Spool(temporary(t));
  await spool.create();
  const intake = new Intake(spool, silentLog, 0);
  const node = new FakeNode();
  const messages = Array.from({ length: 5 }, (_, n) => {
    const { bytes } = node.next('logins', 'log', [plainEvent(n)]);
    const content = zstdCompressSync(Buffer.concat([bytes, Buffer.alloc(20_000_000)]));
    return { content, fields: {}, properties: { type: 'dsac.batch.v1', contentEncoding: 'zstd' } } as Message;
  });
  const write = await intake.open(messages);
  assert.equal(intake.count.batches, 4);
  await write();
  assert.deepEqual([intake.count.batches, intake.count.corrupt], [5, 5]);
});

test('the same batch twice in a group is spooled once', needed, async (t) => {
  const centre = await Centre.make(t);
  const [batch] = await centre.fill(1);
  await centre.send(batch!.bytes);
  const { batches, duplicates } = await centre.consume();
  assert.deepEqual({ batches, duplicates }, { batches: 1, duplicates: 1 });
  assert.deepEqual(centre.arrived(), digests([batch!]));
});

test(
  'nothing is acknowledged before it is durable: with a disk that fails, the broker keeps all',
  needed,
  async (t) => {
    const centre = await Centre.make(t);
    const batches = await centre.fill(50);
    const full = Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
    const disk = {
      ...realDisk,
      sync: (path: string) => (path.endsWith('/new') ? Promise.reject(full) : realDisk.sync(path)),
    };
    const spool = new Spool(centre.spool.root, { disk });
    await assert.rejects(centre.consume({ spool }), {
      name: 'DsacError',
      kind: 'io',
      hint: /the broker still has it/,
    });
    rmSync(centre.spool.directory('new'), { recursive: true });
    await centre.consume();
    assert.deepEqual(centre.arrived().sort(), digests(batches).sort());
  },
);

test('a broker that is not there is unavailable, and so is a silent one within its deadline', async (t) => {
  const run = {
    home: '/',
    spool: new Spool(temporary(t)),
    log: silentLog,
    signal: new AbortController().signal,
    follow: false,
    quota: DEFAULT_QUOTA,
  };
  for (const port of [1, await silentPeer(t)]) {
    const options = consumeSchema.parse({ url: `amqp://127.0.0.1:${port}`, connect_timeout: '300ms' });
    await assert.rejects(consume({ ...run, options }), { name: 'DsacError', kind: 'unavailable' });
  }
});

test(
  'a queue that is missing is declared; one that is there otherwise is left alone and told with both',
  needed,
  async (t) => {
    const centre = await Centre.make(t);
    await centre.channel.deleteQueue(centre.own.queue);
    assert.equal((await centre.consume()).messages, 0);
    await setUp(consumeSchema.parse(centre.own), '/');
    await centre.channel.deleteQueue(centre.own.queue);
    await centre.channel.assertQueue(centre.own.queue, {
      durable: true,
      arguments: { 'x-queue-type': 'classic' },
    });
    await assert.rejects(setUp(consumeSchema.parse(centre.own), '/'), {
      name: 'DsacError',
      kind: 'config',
      message:
        /queue 'dsac-test-.* exists with other arguments: .*x-dead-letter-exchange.* current is none; wanted .*quorum/,
    });
  },
);

test(
  'P2: the dead letter queue gives nothing up itself, and one of another version is left as it is',
  needed,
  async (t) => {
    const centre = await Centre.make(t);
    const dead = `${centre.own.queue}.dead`;
    const unlimited = { 'x-queue-type': 'quorum', 'x-delivery-limit': 2 ** 31 - 1 };
    await centre.channel.assertQueue(dead, { durable: true, arguments: unlimited });
    await centre.channel.deleteQueue(dead);
    await centre.channel.assertQueue(dead, { durable: true, arguments: { 'x-queue-type': 'quorum' } });
    await setUp(consumeSchema.parse(centre.own), '/');
  },
);

test(
  'P2: what the queue gave up on is taken in by the next run, after all others and few at a time',
  needed,
  async (t) => {
    const centre = await Centre.make(t);
    const dead = await centre.giveUp(30);
    const others = await centre.fill(5);
    const { messages, recovered } = await centre.consume();
    assert.deepEqual({ messages, recovered }, { messages: 35, recovered: 30 });
    assert.deepEqual(centre.arrived().sort(), digests([...dead, ...others]).sort());
    const names = readdirSync(centre.spool.directory('new')).sort();
    const first = decode(readFileSync(join(centre.spool.directory('new'), names[0]!)));
    assert.ok(digests(others).includes([...first][0]!.batch!.trailer.sha256), 'the others waited');
    assert.ok(names.length > 5, `${names.length} segments: what was too much at once comes at once again`);
    assert.equal((await centre.consume()).messages, 0);
  },
);

test('P2: following, what the queue gave up on is taken in while other messages come', needed, async (t) => {
  const centre = await Centre.make(t);
  const dead = await centre.giveUp(3);
  const told = Promise.withResolvers<void>();
  centre.log = {
    ...silentLog,
    warn: (_fields, message) => message.includes('given up on') && told.resolve(),
  };
  const following = centre.consume({ follow: true });
  const others = await centre.fill(3);
  await told.promise;
  centre.stop.abort();
  assert.equal((await following).recovered, 3);
  assert.deepEqual(centre.arrived().sort(), digests([...dead, ...others]).sort());
});

test(
  'following, it takes what comes, connects again when the broker goes, and ends when told',
  needed,
  async (t) => {
    const centre = await Centre.make(t);
    const wire = await wireTo(t, realPort);
    const reconnecting = Promise.withResolvers<void>();
    centre.log = {
      ...silentLog,
      warn: (_fields, message) => message.startsWith('broker lost') && reconnecting.resolve(),
    };
    const entered = new EventEmitter();
    const spool = new Spool(centre.spool.root);
    const enter = spool.enter.bind(spool);
    spool.enter = async (name, bytes) => {
      await enter(name, bytes);
      entered.emit('file');
    };
    const following = centre.consume({ follow: true, spool }, { url: `amqp://127.0.0.1:${wire.port}` });
    let arrival = once(entered, 'file');
    const first = await centre.fill(1);
    await arrival;
    wire.cut();
    await reconnecting.promise;
    arrival = once(entered, 'file');
    const second = await centre.fill(1);
    await arrival;
    centre.stop.abort();
    const { messages, lost } = await following;
    assert.deepEqual([...new Set(centre.arrived())].sort(), digests([...first, ...second]).sort());
    assert.ok(messages >= 2 && lost === undefined);
  },
);

test('a connection that is lost midway is told, and what was taken counts', needed, async (t) => {
  const centre = await Centre.make(t);
  const batches = await centre.fill(600);
  const wire = await wireTo(t, realPort);
  const spool = new Spool(centre.spool.root);
  const enter = spool.enter.bind(spool);
  spool.enter = async (name, bytes) => {
    await enter(name, bytes);
    wire.cut();
  };
  const { messages, lost } = await centre.consume({ spool }, { url: `amqp://127.0.0.1:${wire.port}` });
  assert.ok(messages > 0 && /connection lost/.test(lost ?? ''), String(lost));
  await centre.consume();
  assert.deepEqual([...new Set(centre.arrived())].sort(), digests(batches).sort());
});

test('a password in the URL never shows in what is said', async (t) => {
  const run = {
    home: '/',
    spool: new Spool(temporary(t)),
    log: silentLog,
    signal: new AbortController().signal,
    follow: false,
    quota: DEFAULT_QUOTA,
  };
  const options = consumeSchema.parse({ url: 'amqp://dsac:swordfish@127.0.0.1:1' });
  await assert.rejects(
    consume({ ...run, options }),
    (error: Error) => !/swordfish/.test(`${error.message} ${error.stack}`),
  );
});

for (const [what, options, quota] of [
  ['bytes', 'size=2m', { bytes: {}, files: 1e6, free: { most: 0 }, freeInodes: { most: 0 } }],
  ['inodes', 'size=8m,nr_inodes=60', { bytes: {}, files: 1e6, free: { most: 0 }, freeInodes: { most: 0 } }],
  ['bytes', 'size=32m', DEFAULT_QUOTA],
] as const) {
  test(
    `P5: on a disk without free ${what} (${options}) messages stay with the broker, and come once there is room`,
    needed,
    async (t) => {
      const disk = smallDisk(t, options);
      if (disk === undefined) return;
      const centre = await Centre.make(t);
      const spool = new Spool(join(disk, 'in'));
      await spool.create();
      const batches = await centre.fill(20);
      const makeRoom = fill(disk, what);
      const first = await centre.consume({ spool, quota }).then(
        ({ full }) => full,
        (error: unknown) => error,
      );
      assert.match(String(first), /no room in|cannot write to .*ENOSPC/);
      assert.deepEqual([readdirSync(spool.directory('new')), readdirSync(spool.directory('tmp'))], [[], []]);
      makeRoom();
      assert.equal((await centre.consume({ spool, quota })).batches, 20);
      const arrived = readdirSync(spool.directory('new')).flatMap((name) =>
        [...decode(readFileSync(join(spool.directory('new'), name)))].map(
          ({ batch }) => batch!.trailer.sha256,
        ),
      );
      assert.deepEqual(arrived.sort(), digests(batches).sort());
    },
  );
}

test(
  'P9: a full spool takes nothing from the broker, and one that follows goes on when there is room',
  needed,
  async (t) => {
    const centre = await Centre.make(t);
    await centre.spool.create();
    await centre.fill(30);
    const quota = { ...DEFAULT_QUOTA, files: 1 };
    for (const name of ['a', 'b']) writeFileSync(join(centre.spool.directory('hold'), name), '');
    const { full, messages } = await centre.consume({ quota });
    assert.match(String(full?.message), /the spool .* is full: it holds .* in 2 files/);
    assert.equal(full?.kind, 'tempfail');
    assert.equal(messages, 0);
    assert.equal((await centre.channel.checkQueue(centre.own.queue)).messageCount, 30);
    const following = centre.consume({ quota: { ...quota, files: 3 }, follow: true });
    while (centre.arrived().length < 30) await new Promise((settle) => setTimeout(settle, 20));
    centre.stop.abort();
    await following;
    assert.deepEqual(await centre.left(), { messages: 0, redelivered: 0 });
  },
);
