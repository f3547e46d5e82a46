import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import * as z from 'zod';
import { brokerKeys, brokerName, endpointOf, tlsOf } from '../../src/amqp/options.ts';
import { temporary } from '../helpers/tree.ts';

const schema = z.strictObject(brokerKeys);

test('the name of a broker in messages never holds user or password', () => {
  assert.equal(
    brokerName('amqps://dsac:swordfish@broker.example.org/site'),
    'amqps://broker.example.org:5671/site',
  );
  assert.equal(brokerName('amqp://dsac:swordfish@[::1]:5673/'), 'amqp://[::1]:5673');
});

test('a URL that is wrong is refused without repeating it, since it may hold a password', () => {
  for (const url of [
    'https://u:swordfish@host',
    'u:swordfish@host',
    'amqp://u:sword%fish@host',
    'amqp://u@host?auth=swordfish',
    'amqp://u@host/v#sword',
  ]) {
    assert.throws(
      () => schema.parse({ url }),
      (error: Error) => /expected amqp:/.test(error.message) && !/sword/.test(error.message),
    );
  }
});

test('user and password come from their own keys first, then the URL, then are guest', async (t) => {
  const home = temporary(t);
  writeFileSync(join(home, 'secret'), 'from file\nsecond line\n');
  const login = async (given: object): Promise<unknown[]> => {
    const { username, password } = await endpointOf(schema.parse(given), home);
    return [username, password];
  };
  assert.deepEqual(await login({ url: 'amqp://host' }), ['guest', 'guest']);
  assert.deepEqual(await login({ url: 'amqp://me:p%40ss@host' }), ['me', 'p@ss']);
  assert.deepEqual(await login({ url: 'amqp://me:p@host', password_file: 'secret' }), ['me', 'from file']);
  assert.deepEqual(await login({ url: 'amqp://me:p@host', username: 'you' }), ['you', 'p']);
});

test('a file that is named and not there is told with its key', async (t) => {
  const options = schema.parse({ url: 'amqp://host', password_file: 'none' });
  await assert.rejects(endpointOf(options, temporary(t)), {
    name: 'DsacError',
    message: /^password_file: cannot read .*none/,
  });
});

test('host, port and vhost are taken from the URL as RabbitMQ writes them', async () => {
  const at = async (url: string): Promise<unknown[]> => {
    const { protocol, hostname, port, vhost } = await endpointOf(schema.parse({ url }), '/');
    return [protocol, hostname, port, decodeURIComponent(vhost ?? '')];
  };
  assert.deepEqual(await at('amqp://host'), ['amqp', 'host', 5672, '/']);
  assert.deepEqual(await at('amqps://host/'), ['amqps', 'host', 5671, '/']);
  assert.deepEqual(await at('amqp://[::1]:1/a%2Fb'), ['amqp', '::1', 1, 'a/b']);
});

test('a TLS file that holds something else, and a certificate without its key, are told with their key', async (t) => {
  const home = temporary(t);
  writeFileSync(join(home, 'none.pem'), 'swordfish\n');
  const refusal = async (tls: object): Promise<string> => {
    let said = 'taken';
    await tlsOf(schema.parse({ url: 'amqps://host', tls }), home).catch((error: Error) => {
      said = error.message;
    });
    return said;
  };
  assert.match(await refusal({ ca: 'none.pem' }), /^tls\.ca: expected a certificate in PEM in none\.pem: /);
  assert.match(await refusal({ cert: 'none.pem' }), /^tls\.cert is set without tls\.key$/);
  assert.match(await refusal({ key: 'none.pem' }), /^tls\.key is set without tls\.cert$/);
  assert.match(await refusal({ cert: 'none.pem', key: 'none.pem' }), /^tls\.cert: expected a certificate/);
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  writeFileSync(join(home, 'key.pem'), privateKey.export({ type: 'pkcs8', format: 'pem' }));
  assert.match(await refusal({ ca: 'key.pem' }), /^tls\.ca: expected a certificate/);
});
