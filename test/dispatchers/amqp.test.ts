import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import type { Channel } from 'amqplib';
import amqp from '../../dispatchers/amqp.ts';
import { unpack } from '../../src/amqp/message.ts';
import { DestinationDown } from '../../src/plugin/handler.ts';
import { consumeSchema, setUp } from '../../src/run/consume.ts';
import { FakeNode, plainEvent } from '../helpers/batches.ts';
import { Counter } from '../helpers/handlers.ts';
import { silentPeer, wireTo } from '../helpers/peers.ts';
import { amqpUrl, type OwnQueue, ownQueue, servicesLeftOut } from '../helpers/services.ts';
import { handlerConformance } from '../suites/handler.ts';

const needed = { skip: servicesLeftOut };
const realPort = Number(new URL(amqpUrl()).port) || 5672;

/** An exchange and a queue that are declared as `dsac consume --setup` does. */
async function readyQueue(t: TestContext): Promise<OwnQueue> {
  const own = ownQueue(t);
  await setUp(consumeSchema.parse(own), '/');
  return own;
}

/** A channel of the test's own. */
async function channelTo(t: TestContext): Promise<Channel> {
  const { default: amqplib } = await import('amqplib');
  const connection = await amqplib.connect(amqpUrl());
  t.after(() => connection.close());
  return connection.createChannel();
}

/** The digests of all batches in a queue, which is empty then. */
async function takeAll(t: TestContext, queue: string): Promise<string[]> {
  const channel = await channelTo(t);
  const digests: string[] = [];
  for (;;) {
    const message = await channel.get(queue, { noAck: true });
    if (!message) return digests;
    for (const batch of (await unpack(message)).batches) digests.push(batch.trailer.sha256);
  }
}

handlerConformance(amqp, {
  folder: 'dispatchers',
  keepsOne: false,
  destination: async (t) => {
    const { url, exchange, queue } = await readyQueue(t);
    return { options: { url, exchange }, arrived: () => takeAll(t, queue) };
  },
  down: async (t) => ({ url: `amqp://127.0.0.1:${await silentPeer(t)}`, connect_timeout: '300ms' }),
  skip: servicesLeftOut,
});

test(
  'amqp: a message that no queue is bound for is not delivered, although the broker confirms it',
  needed,
  async (t) => {
    const { url, exchange, queue } = await readyQueue(t);
    const channel = await channelTo(t);
    await channel.unbindQueue(queue, exchange, 'dsac.#');
    const counter = new Counter(t);
    const node = new FakeNode();
    const session = await counter.open(amqp, { url, exchange });
    const parcels = await counter.files(
      node.next('logins', 'log', [plainEvent()]),
      node.next('users', 'log', [plainEvent()]),
    );
    await assert.rejects(session.deliver(parcels), (error: Error) => {
      assert.ok(error instanceof DestinationDown);
      assert.match(error.message, /no queue is bound .*NO_ROUTE.*dsac consume --setup/);
      return true;
    });
    await channel.bindQueue(queue, exchange, 'dsac.users.*');
    const [logins, users] = await session.deliver(parcels);
    assert.equal(users?.status, 'delivered');
    assert.ok(logins?.status === 'deferred' && /no queue is bound/.test(logins.reason));
    assert.equal((await takeAll(t, queue)).length, 1);
  },
);

test(
  'amqp: an exchange that is missing is told with what to do, before and while sending',
  needed,
  async (t) => {
    const { url, exchange } = await readyQueue(t);
    const counter = new Counter(t);
    const session = await counter.open(amqp, { url, exchange });
    const parcels = await counter.files(new FakeNode().next('logins', 'log', [plainEvent()]));
    await (await channelTo(t)).deleteExchange(exchange);
    const missing = {
      name: 'DestinationDown',
      message: /has no exchange 'dsac-test-.*': run dsac consume --setup/,
    };
    await assert.rejects(session.deliver(parcels), missing);
    await assert.rejects(counter.open(amqp, { url, exchange }), missing);
  },
);

test('amqp: after the exchange is there again the same session delivers', needed, async (t) => {
  const own = await readyQueue(t);
  const counter = new Counter(t);
  const session = await counter.open(amqp, { url: own.url, exchange: own.exchange });
  const parcels = await counter.files(new FakeNode().next('logins', 'log', [plainEvent()]));
  await (await channelTo(t)).deleteExchange(own.exchange);
  await assert.rejects(session.deliver(parcels), DestinationDown);
  await setUp(consumeSchema.parse(own), '/');
  assert.deepEqual(await session.deliver(parcels), [{ status: 'delivered' }]);
});

test('amqp: a queue that is full refuses, and nothing is held against the batches', needed, async (t) => {
  const own = ownQueue(t);
  const channel = await channelTo(t);
  await channel.assertExchange(own.exchange, 'topic');
  await channel.assertQueue(own.queue, { arguments: { 'x-max-length': 1, 'x-overflow': 'reject-publish' } });
  await channel.bindQueue(own.queue, own.exchange, '#');
  const counter = new Counter(t);
  const node = new FakeNode();
  const session = await counter.open(amqp, { url: own.url, exchange: own.exchange });
  const [first, ...rest] = await counter.files(
    ...[1, 2, 3].map((n) => node.next('logins', 'log', [plainEvent(n)])),
  );
  assert.deepEqual(await session.deliver([first!]), [{ status: 'delivered' }]);
  await assert.rejects(session.deliver(rest), {
    name: 'DestinationDown',
    message: /refused it \(nack\): is the queue full/,
  });
  await channel.purgeQueue(own.queue);
  const answers = await session.deliver([first!, ...rest]);
  assert.deepEqual([answers[0]!.status, answers[2]!.status], ['delivered', 'refused']);
});

test('amqp: a broker that falls silent while messages wait is given up', needed, async (t) => {
  const { exchange } = await readyQueue(t);
  const wire = await wireTo(t, realPort);
  const counter = new Counter(t);
  const url = `amqp://127.0.0.1:${wire.port}`;
  const session = await counter.open(amqp, { url, exchange, confirm_timeout: '300ms' });
  const parcels = await counter.files(new FakeNode().next('logins', 'log', [plainEvent()]));
  await session.deliver(parcels);
  wire.mute();
  await assert.rejects(session.deliver(parcels), {
    name: 'DestinationDown',
    message: /confirmed nothing for 0.3 s/,
  });
});

test('amqp: a connection that is cut is down at once, not only at a deadline', needed, async (t) => {
  const { exchange } = await readyQueue(t);
  const wire = await wireTo(t, realPort);
  const counter = new Counter(t);
  const session = await counter.open(amqp, { url: `amqp://127.0.0.1:${wire.port}`, exchange });
  const parcels = await counter.files(new FakeNode().next('logins', 'log', [plainEvent()]));
  await session.deliver(parcels);
  wire.mute();
  const delivering = session.deliver(parcels);
  wire.cut();
  await assert.rejects(delivering, { name: 'DestinationDown', message: /connection lost/ });
  await assert.rejects(session.deliver(parcels), { name: 'DestinationDown', message: /connection lost/ });
});

test(
  'P2: amqp: what was confirmed before the line went dead is delivered, so that a bad one is got over piece by piece',
  needed,
  async (t) => {
    const { exchange, queue } = await readyQueue(t);
    const wire = await wireTo(t, realPort);
    const counter = new Counter(t);
    const node = new FakeNode();
    const parcels = Array.from({ length: 300 }, (_, n) => {
      const event = { ...plainEvent(n), data: { text: randomBytes(3000).toString('base64') } };
      return { batch: node.next('logins', 'log', [event]), path: '/none' };
    });
    const url = `amqp://127.0.0.1:${wire.port}`;
    const session = await counter.open(amqp, { url, exchange, confirm_timeout: '300ms' });
    await session.deliver(parcels.slice(0, 1));
    wire.muteNext();
    const answers = await session.deliver(parcels);
    wire.cut();
    const delivered = answers.filter(({ status }) => status === 'delivered').length;
    assert.ok(delivered > 0, 'nothing of what the broker has counts');
    assert.ok(delivered < 300, 'the line was not dead');
    assert.ok(answers.every(({ status }) => status === 'delivered' || status === 'refused'));
    const there = new Set(await takeAll(t, queue));
    for (const [at, { status }] of answers.entries())
      assert.ok(status === 'refused' || there.has(parcels[at]!.batch.trailer.sha256), `${at} is not there`);
  },
);

test('amqp: more than the socket takes at once arrives whole', needed, async (t) => {
  const { url, exchange, queue } = await readyQueue(t);
  const counter = new Counter(t);
  const node = new FakeNode();
  const batches = Array.from({ length: 300 }, (_, n) =>
    node.next('logins', 'log', [
      { ...plainEvent(n), data: { text: randomBytes(45_000).toString('base64') } },
    ]),
  );
  const session = await counter.open(amqp, { url, exchange });
  const answers = await session.deliver(batches.map((batch) => ({ batch, path: '/none' })));
  assert.ok(answers.every(({ status }) => status === 'delivered'));
  assert.deepEqual((await takeAll(t, queue)).sort(), batches.map(({ trailer }) => trailer.sha256).sort());
});
