import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { zstdCompressSync } from 'node:zlib';
import { stateDigest } from '../../src/spool/canonical.ts';
import { decode } from '../../src/spool/decode.ts';
import { seal } from '../../src/spool/encode.ts';
import { unfold } from '../../src/spool/unfold.ts';
import { FakeNode, plainEvent } from '../helpers/batches.ts';

const golden = new URL('../golden/v1.jsonl', import.meta.url);

function reasons(bytes: Buffer): string[] {
  return [...decode(bytes)].map(({ damage }) => damage?.reason ?? 'whole');
}

test('a batch of format version 1 written long ago still reads, byte for byte', () => {
  const bytes = readFileSync(golden);
  const decoded = [...decode(bytes)];
  assert.deepEqual(
    decoded.map(({ damage }) => damage?.reason),
    [undefined, undefined],
  );
  const [first, second] = decoded.map(({ batch }) => batch!);
  assert.equal(first!.header.agent, 'packages');
  assert.equal(first!.header.kind, 'snapshot');
  assert.deepEqual(
    [...first!.events()].map(({ action, item }) => [action, item]),
    [
      ['present', 'dpkg/adduser/all'],
      ['present', 'dpkg/openssl/amd64'],
    ],
  );
  assert.equal(second!.header.prev, first!.trailer.sha256);
  assert.equal([...second!.events()][0]!.after!.version, '3.0.15-1');
  assert.equal(
    createHash('sha256').update(bytes).digest('hex'),
    readFileSync(new URL('../golden/v1.sha256', import.meta.url), 'utf8').trim(),
  );
});

test('what seal writes, decode reads back as the same header, events and bytes', () => {
  const batch = new FakeNode().next('logins', 'log', [plainEvent(1), plainEvent(2)]);
  assert.deepEqual([...batch.events()], [plainEvent(1), plainEvent(2)]);
  assert.match(batch.bytes.toString(), /^\{"dsac":1,.*\n\{"time":.*\n\{"time":.*\n\{"end":1,"count":2,/);
});

test('a flipped bit anywhere in a batch is noticed', () => {
  const { bytes } = new FakeNode().next('logins', 'log', [plainEvent()]);
  for (let at = 0; at < bytes.length; at++) {
    const flipped = Buffer.from(bytes);
    flipped[at]! ^= 1;
    assert.notDeepEqual(reasons(flipped), ['whole'], `bit 0 of byte ${at}`);
  }
});

test('a batch cut at any byte is damage, and a whole batch behind it is still found', () => {
  const node = new FakeNode();
  const first = node.next('logins', 'log', [plainEvent()]).bytes;
  const second = node.next('logins', 'log', [plainEvent()]).bytes;
  for (let at = 1; at < first.length; at++) {
    const cut = Buffer.concat([first.subarray(0, at), Buffer.from('\n'), second]);
    const decoded = [...decode(cut)];
    assert.ok(decoded.some(({ damage }) => damage) || at === first.length - 1, `cut at ${at}`);
    assert.ok(decoded.at(-1)!.batch?.bytes.equals(second), `cut at ${at}: the batch behind it is lost`);
  }
});

const broken: Record<string, [(bytes: string) => string, RegExp]> = {
  'an unknown version': [(text) => text.replace('"dsac":1', '"dsac":2'), /header: dsac/],
  'bytes before the header': [(text) => `junk\n${text}`, /not a batch header/],
  'NUL bytes behind it': [(text) => `${text}\0\0\0\0`, /not a batch header/],
  'a second trailer': [(text) => `${text + text.split('\n').at(-2)}\n`, /not a batch header/],
  'a line that is neither event nor trailer': [
    (text) => text.replace('{"time":', '{"Time":'),
    /line 2 is neither/,
  ],
  'no trailer': [(text) => `${text.split('\n').slice(0, -2).join('\n')}\n`, /no trailer/],
  'an empty file': [() => '', /empty/],
};

for (const [what, [breaks, reason]] of Object.entries(broken)) {
  test(`${what} is refused with its reason`, () => {
    const { bytes } = new FakeNode().next('logins', 'log', [plainEvent()]);
    assert.ok(reasons(Buffer.from(breaks(bytes.toString()))).some((said) => reason.test(said)));
  });
}

test('a signature by another key is refused', () => {
  const node = new FakeNode();
  const { header } = node.next('logins', 'log', []);
  const forged = seal(header, [plainEvent()], new FakeNode().key);
  assert.deepEqual(reasons(forged.bytes), ['sig does not verify under key']);
});

test('an event that nests too deep is refused without being parsed', () => {
  const node = new FakeNode();
  let deep: unknown = 1;
  for (let i = 0; i < 40; i++) deep = [deep];
  const batch = node.next('logins', 'log', [{ ...plainEvent(), data: { deep } as never }]);
  assert.throws(() => [...batch.events()], /event 1: nests deeper/);
});

test('a compressed file that unfolds to more than the limit is refused', async () => {
  const bomb = zstdCompressSync(Buffer.alloc(300 * 1024 * 1024));
  await assert.rejects(unfold(bomb), /unfolds to more than 268435456 bytes/);
});

test('P7: what several Zstandard frames hold is read whole, and what is none is refused', async () => {
  const frame = (text: string): Buffer => zstdCompressSync(Buffer.from(text));
  const skippable = Buffer.from('502a4d1804000000deadbeef', 'hex');
  const unfolded = async (...parts: Buffer[]): Promise<string> =>
    (await unfold(Buffer.concat(parts))).toString();
  assert.equal(await unfolded(frame('one'), frame('two'), frame('three')), 'onetwothree');
  assert.equal(await unfolded(skippable, frame(''), frame('one'), skippable, frame('two')), 'onetwo');
  await assert.rejects(unfolded(frame('one'), Buffer.from('junk')));
  await assert.rejects(unfolded(frame('one'), frame('two').subarray(0, -3)));
  await assert.rejects(unfolded(Buffer.alloc(0)));
  const empty = frame('');
  await assert.rejects(unfolded(...Array.from({ length: 4097 }, () => empty)), /more than 4096 frames/);
});

test('P7: frames that only together unfold to more than the limit are refused', async () => {
  const part = zstdCompressSync(Buffer.alloc(129 * 1024 * 1024));
  await assert.rejects(unfold(Buffer.concat([part, part])), /unfolds to more than 268435456 bytes/);
});

test('P7: a batch that what was cut off runs into is found, whether the end of a line or of a batch is missing', () => {
  const node = new FakeNode();
  const [first, second] = [1, 2].map((n) => node.next('logins', 'log', [plainEvent(n)]).bytes);
  for (let at = 0; at < first!.length; at++) {
    const found = [...decode(Buffer.concat([first!.subarray(0, at), second!]))];
    assert.ok(found.at(-1)!.batch?.bytes.equals(second!), `cut at ${at}`);
    assert.equal(found.length, at === 0 ? 1 : 2);
  }
});

test('P7: headers within lines are looked for a bounded number of times', () => {
  const line = `{"time":{"dsac":1,${'x'.repeat(200)}\n`;
  const bytes = Buffer.alloc(line.length * 100_000, line);
  const started = performance.now();
  assert.equal(reasons(bytes).length, 1);
  assert.ok(performance.now() - started < 10_000);
});

test('P7: a file of nothing but broken headers is one damage, found in time that grows with its length alone', () => {
  const bytes = Buffer.alloc(9 * 1_000_000, '{"dsac":\n');
  const started = performance.now();
  assert.deepEqual(reasons(bytes), ['header: 8 bytes, too short to be one (and 999999 more behind it)']);
  assert.ok(performance.now() - started < 10_000);
});

for (const time of ['2026-02-30T00:00:00.000Z', '2026-01-01T24:00:00.000Z', '2026-01-01T00:00:60.000Z'])
  test(`P7: ${time} is no time: no database would take it`, () => {
    const { header } = new FakeNode().next('logins', 'log', []);
    assert.match(
      reasons(seal({ ...header, time }, [], new FakeNode().key).bytes)[0]!,
      /header: time: a time/,
    );
    const batch = new FakeNode().next('logins', 'log', [{ ...plainEvent(), time }]);
    assert.throws(() => [...batch.events()], /event 1: time: a time/);
  });

test('fields called __proto__ and constructor are data like any other', () => {
  const fields = JSON.parse('{"__proto__":{"admin":true},"constructor":"x","in":{"__proto__":[1]}}');
  const [event] = new FakeNode().next('things', 'log', [{ ...plainEvent(), data: fields }]).events();
  assert.equal(JSON.stringify(event!.data), JSON.stringify(fields));
  assert.equal(({} as { admin?: boolean }).admin, undefined);
});

test('the state digest is what sort and sha256sum make of key and fields', () => {
  const lines = ['b\t{"v":1}\n', 'a\t{"v":"\u{1f600}"}\n', 'a\u{ffff}\t{}\n', 'a\u{1f600}\t{}\n'];
  const expected = createHash('sha256');
  for (const line of lines.map((text) => Buffer.from(text)).sort(Buffer.compare)) expected.update(line);
  const items = lines.map((line) => line.trimEnd().split('\t') as [string, string]);
  assert.equal(stateDigest(items), expected.digest('hex'));
});
