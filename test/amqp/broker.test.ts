import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import * as z from 'zod';
import { type Broker, connectBroker } from '../../src/amqp/broker.ts';

import { brokerKeys } from '../../src/amqp/options.ts';
import { Publisher } from '../../src/amqp/publish.ts';
import { queueLength } from '../../src/amqp/topology.ts';
import { DestinationDown } from '../../src/plugin/handler.ts';
import { silentPeer, throwAwayAuthority, tlsInFrontOf, wireTo } from '../helpers/peers.ts';
import { amqpUrl, servicesLeftOut } from '../helpers/services.ts';

const schema = z.strictObject(brokerKeys);
const needed = { skip: servicesLeftOut };
const realPort = Number(new URL(amqpUrl()).port) || 5672;

function open(options: object): Promise<Broker> {
  return connectBroker(schema.parse(options), '/', 'test');
}

async function down(options: object): Promise<string> {
  try {
    const broker = await open(options);
    await broker.close();
  } catch (error) {
    assert.ok(error instanceof DestinationDown, String(error));
    return error.message;
  }
  return assert.fail('it connected');
}

test('a peer that accepts and says nothing is given up within the deadline, with TLS too', async (t) => {
  const port = await silentPeer(t);
  for (const protocol of ['amqp', 'amqps']) {
    const url = `${protocol}://u:swordfish@127.0.0.1:${port}`;
    const message = await down({ url, connect_timeout: '300ms' });
    assert.equal(message, `${protocol}://127.0.0.1:${port}: no answer within 0.3 s`);
  }
});

test('a port where nobody listens is told with its address', async () => {
  assert.match(
    await down({ url: 'amqp://127.0.0.1:1' }),
    /cannot connect to amqp:\/\/127.0.0.1:1: .*ECONNREFUSED/,
  );
});

test('a login that is refused is told with what to check, the password left out', needed, async () => {
  const message = await down({ url: `amqp://dsac-test-nobody:swordfish@127.0.0.1:${realPort}` });
  assert.match(message, /refused the login of 'dsac-test-nobody': check username and password_file/);
});

test('a vhost that is not there is told', needed, async () => {
  const url = new URL(amqpUrl());
  url.pathname = '/dsac-test-none';
  assert.match(await down({ url: url.href }), /no such vhost/);
});

test('amqps to a broker whose authority is named works', needed, async (t) => {
  const authority = throwAwayAuthority(t);
  const port = await tlsInFrontOf(t, realPort, authority);
  const broker = await open({ url: `amqps://localhost:${port}`, tls: { ca: authority.ca } });
  assert.equal(await queueLength(broker, 'dsac-test-none'), undefined, 'a reply came through');
  await broker.close();
});

test('amqps to a broker of another authority, or of none that is named, is refused', needed, async (t) => {
  const port = await tlsInFrontOf(t, realPort, throwAwayAuthority(t));
  const url = `amqps://localhost:${port}`;
  assert.match(await down({ url }), /certificate is not trusted: .*set tls.ca/);
  assert.match(await down({ url, tls: { ca: throwAwayAuthority(t).ca } }), /certificate is not trusted/);
});

test(
  'amqps to a broker with a certificate for another name is refused, unless that name is wanted',
  needed,
  async (t) => {
    const authority = throwAwayAuthority(t);
    const port = await tlsInFrontOf(t, realPort, authority);
    const url = `amqps://127.0.0.1:${port}`;
    assert.match(await down({ url, tls: { ca: authority.ca } }), /certificate is for another name/);
    await (await open({ url, tls: { ca: authority.ca, servername: 'localhost' } })).close();
  },
);

test('a broker that asks for a certificate gets the one that is configured', needed, async (t) => {
  const authority = throwAwayAuthority(t);
  const { ca, cert, key } = authority;
  const port = await tlsInFrontOf(t, realPort, authority, authority);
  const url = `amqps://localhost:${port}`;
  await down({ url, tls: { ca } });
  await (await open({ url, tls: { ca, cert, key } })).close();
});

test('amqps to a port that does not speak TLS says so', needed, async () => {
  assert.match(await down({ url: `amqps://127.0.0.1:${realPort}` }), /does not speak TLS on that port/);
});

test('a connection that is cut is noticed, and ends no process', needed, async (t) => {
  const wire = await wireTo(t, realPort);
  const broker = await open({ url: `amqp://127.0.0.1:${wire.port}` });
  const lost = once(broker.lost, 'abort');
  wire.cut();
  await lost;
  assert.match(broker.lost.reason.message, /connection lost/);
  await broker.close();
});

test('what is asked of a connection that has just gone is answered with its loss', needed, async (t) => {
  const wire = await wireTo(t, realPort);
  const broker = await open({ url: `amqp://127.0.0.1:${wire.port}` });
  const { channel } = await broker.channel();
  const waiting = queueLength(broker, 'dsac-test-none');
  wire.cut();
  const lost = { name: 'DestinationDown', message: /connection lost/ };
  await assert.rejects(waiting, lost);
  await assert.rejects(queueLength(broker, 'dsac-test-none'), lost);
  await assert.rejects(broker.reply(channel.checkQueue('dsac-test-none')), lost);
});

/** A method frame of class `connection` on channel 0 (AMQP 0-9-1 §2.3.5, §1.4.2). */
function connectionFrame(method: number, ...fields: Buffer[]): Buffer {
  const payload = Buffer.concat([Buffer.from([0, 10, 0, method]), ...fields]);
  const head = Buffer.alloc(7);
  head.writeUInt8(1, 0);
  head.writeUInt32BE(payload.length, 3);
  return Buffer.concat([head, payload, Buffer.from([0xce])]);
}

function shortString(text: string): Buffer {
  return Buffer.from([text.length, ...Buffer.from(text)]);
}

test('a broker that shuts down is noticed, although no error is raised', needed, async (t) => {
  const wire = await wireTo(t, realPort);
  const broker = await open({ url: `amqp://127.0.0.1:${wire.port}` });
  const lost = once(broker.lost, 'abort');
  const forced = Buffer.from([320 >> 8, 320 & 0xff]);
  wire.say(connectionFrame(50, forced, shortString('CONNECTION_FORCED'), Buffer.alloc(4)));
  await lost;
  assert.match(broker.lost.reason.message, /connection lost/);
});

test('a broker that is blocked takes no messages, which is nobody’s fault', needed, async (t) => {
  const wire = await wireTo(t, realPort);
  const broker = await open({ url: `amqp://127.0.0.1:${wire.port}` });
  const blocked = once(broker.blocked, 'abort');
  wire.say(connectionFrame(60, shortString('low on memory')));
  await blocked;
  await assert.rejects(new Publisher(broker, '', 60_000).publish([], 0), {
    name: 'DestinationDown',
    message: /takes no messages now \(blocked: low on memory\)/,
  });
  await broker.close();
});

test('closing does not wait for a peer that has fallen silent', needed, async (t) => {
  const wire = await wireTo(t, realPort);
  const broker = await open({ url: `amqp://127.0.0.1:${wire.port}` });
  wire.mute();
  const started = Date.now();
  await broker.close();
  assert.ok(Date.now() - started < 10_000);
});
