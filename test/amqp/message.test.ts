import assert from 'node:assert/strict';
import { test } from 'node:test';
import { zstdCompressSync } from 'node:zlib';
import type { MessageProperties } from 'amqplib';
import { pack, unpack } from '../../src/amqp/message.ts';
import { FakeNode, plainEvent } from '../helpers/batches.ts';

function properties(some: Partial<MessageProperties>): MessageProperties {
  return { type: 'dsac.batch.v1', ...some } as MessageProperties;
}

async function reasons(content: Buffer, some: Partial<MessageProperties> = {}): Promise<string[]> {
  return (await unpack({ content, properties: properties(some) })).damages.map(({ reason }) => reason);
}

const small = new FakeNode().next('logins', 'log', [plainEvent()]);
const large = new FakeNode().next(
  'logins',
  'log',
  Array.from({ length: 500 }, (_, n) => plainEvent(n)),
);

test('a batch travels under the names that docs/format.md promises to other consumers', async () => {
  const { routingKey, body, properties } = pack(small);
  assert.equal(routingKey, `dsac.logins.${small.header.node}`);
  assert.deepEqual(body, small.bytes);
  assert.deepEqual(properties, {
    messageId: small.header.id,
    type: 'dsac.batch.v1',
    contentType: 'application/jsonl',
    persistent: true,
    mandatory: true,
    timestamp: Date.parse(small.header.time) / 1000,
    appId: 'dsac',
  });
});

test('a large batch travels compressed and arrives byte by byte', async () => {
  const { body, properties: packed } = pack(large);
  assert.equal(packed.contentEncoding, 'zstd');
  assert.ok(body.length < large.bytes.length);
  const { batches, damages } = await unpack({
    content: body,
    properties: properties({ contentEncoding: 'zstd' }),
  });
  assert.deepEqual(damages, []);
  assert.deepEqual(batches[0]!.bytes, large.bytes);
});

test('what is not a batch is told with its reason and never thrown', async () => {
  assert.match((await reasons(Buffer.from('hello')))[0]!, /not a batch header/);
  assert.match((await reasons(Buffer.alloc(0)))[0]!, /empty/);
  assert.match(
    (await reasons(small.bytes, { type: 'other.v9' }))[0]!,
    /type: expected dsac.batch.v1, .*"other.v9"/,
  );
  assert.match((await reasons(small.bytes, { type: undefined }))[0]!, /has none/);
  assert.match((await reasons(small.bytes, { contentEncoding: 'gzip' }))[0]!, /content-encoding: .*"gzip"/);
  assert.match((await reasons(small.bytes, { contentEncoding: 'zstd' }))[0]!, /not readable zstd/);
  const unprintable = { toString: undefined } as unknown as string;
  assert.match((await reasons(small.bytes, { type: unprintable }))[0]!, /type: .* no text \(object\)/);
  assert.match((await reasons(small.bytes, { contentEncoding: unprintable }))[0]!, /no text \(object\)/);
  assert.match((await reasons(large.bytes.subarray(0, -10)))[0]!, /cut/);
});

test('a small message that unfolds to more than a reader may take is refused', async () => {
  const bomb = zstdCompressSync(Buffer.alloc(257 * 1024 * 1024));
  assert.ok(bomb.length < 100_000);
  assert.match((await reasons(bomb, { contentEncoding: 'zstd' }))[0]!, /not readable zstd/);
});

test('damage beside a batch in one message does not cost the batch', async () => {
  const content = Buffer.concat([Buffer.from('junk\n'), small.bytes]);
  const { batches, damages } = await unpack({ content, properties: properties({}) });
  assert.equal(batches[0]?.trailer.sha256, small.trailer.sha256);
  assert.deepEqual(
    damages.map(({ bytes }) => bytes.toString()),
    ['junk\n'],
  );
});

test('P9: a message that is damaged in many places is kept once', async () => {
  const content = Buffer.concat(
    Array.from({ length: 100 }, () => [small.bytes, Buffer.from('junk\n')]).flat(),
  );
  const { batches, damages } = await unpack({ content, properties: properties({}) });
  assert.equal(batches.length, 100);
  assert.deepEqual(
    damages.map(({ bytes, reason }) => [bytes.length, /and 92 more$/.test(reason)]),
    [[content.length, true]],
  );
});

test('P9: a damaged message is kept as it came, not as the much that it unfolds to', async () => {
  const content = zstdCompressSync(Buffer.concat([small.bytes, Buffer.alloc(10_000_000), small.bytes]));
  const { batches, damages } = await unpack({ content, properties: properties({ contentEncoding: 'zstd' }) });
  assert.equal(batches.length, 2);
  assert.deepEqual(
    damages.map(({ bytes, compressed }) => [bytes.length, compressed]),
    [[content.length, true]],
  );
});
