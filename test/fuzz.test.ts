/** What reads bytes from outside, against arbitrary ones: it never throws where it should answer, ends, and loses nothing that is whole (P7). */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { zstdCompressSync } from 'node:zlib';
import type { MessageProperties } from 'amqplib';
import fc from 'fast-check';
import { unpack } from '../src/amqp/message.ts';
import { loadConfig } from '../src/config/load.ts';
import { formatDuration, parseDuration, parseTime } from '../src/config/time.ts';
import { DsacError } from '../src/errors.ts';
import {
  decodeUtmp,
  detectLayout,
  LAYOUTS,
  lookAhead,
  recordSize,
  type UtmpPart,
} from '../src/source/logins/utmp.ts';
import { type Batch, type BatchEvent, eventSchema, type Fields } from '../src/spool/batch.ts';
import { canonical } from '../src/spool/canonical.ts';
import { decode } from '../src/spool/decode.ts';
import { isEvent } from '../src/spool/event-check.ts';
import { wrecksOf } from '../src/spool/salvage.ts';
import { unfold } from '../src/spool/unfold.ts';
import { FakeNode } from './helpers/batches.ts';
import { fuzz, mutated, mutations } from './helpers/fuzz.ts';
import { fixtures, temporary } from './helpers/tree.ts';

/** Text with all that JSON may carry: quotes, controls, astral characters, lone surrogates, and our own marks. */
const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.string({ unit: fc.nat({ max: 0xffff }).map((code) => String.fromCharCode(code)), maxLength: 8 }),
  fc.constantFrom('{"dsac":1', '{"end":1}\n', '__proto__', 'constructor', '\u2028', '\ufeff'),
);

const fields = fc.dictionary(text, fc.jsonValue({ maxDepth: 3, stringUnit: 'binary' }), {
  maxKeys: 4,
  noNullPrototype: true,
}) as fc.Arbitrary<Fields>;

const events: fc.Arbitrary<BatchEvent[]> = fc.array(
  fc.record(
    {
      time: fc
        .date({
          min: new Date('0000-01-01T00:00:00.000Z'),
          max: new Date('9999-12-31T23:59:59.999Z'),
          noInvalidDate: true,
        })
        .map((date) => date.toISOString()),
      action: fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/),
      item: text.filter((key) => key.length > 0 && /^\P{Cc}*$/u.test(key)),
      before: fields,
      after: fields,
      data: fields,
    },
    { requiredKeys: ['time', 'action'], noNullPrototype: true },
  ),
  { maxLength: 6 },
);

/** A segment of good batches of one node. */
const segment: fc.Arbitrary<Batch[]> = fc.array(events, { minLength: 1, maxLength: 4 }).map((all) => {
  const node = new FakeNode();
  return all.map((some) => node.next('logins', 'log', some));
});

const bytesOf = (batches: readonly Batch[]): Buffer => Buffer.concat(batches.map(({ bytes }) => bytes));

/** Decodes and holds the answer against what docs/format.md promises of a reader. */
function decoded(bytes: Buffer): Batch[] {
  const batches: Batch[] = [];
  let at = 0;
  let wasDamage = false;
  for (const { batch, damage } of decode(bytes)) {
    const part = batch?.bytes ?? damage!.bytes;
    assert.ok(part.equals(bytes.subarray(at, at + part.length)), 'the parts are the whole, in order');
    if (damage) {
      assert.equal(damage.offset, at);
      assert.ok(damage.reason.length > 0 && damage.reason.length < 1000);
      assert.ok(!wasDamage, 'damage is one stretch');
    }
    wasDamage = damage !== undefined;
    at += part.length;
    if (batch) batches.push(batch);
  }
  assert.equal(at, bytes.length);
  for (const batch of batches) {
    const [again, ...more] = [...decode(Buffer.from(batch.bytes))];
    assert.ok(again?.batch && more.length === 0, 'what is accepted is accepted by itself');
    const trailer = batch.bytes.lastIndexOf('{"end":');
    const sha256 = createHash('sha256').update(batch.bytes.subarray(0, trailer)).digest('hex');
    assert.equal(sha256, batch.trailer.sha256);
  }
  for (const wreck of wrecksOf([...decode(bytes)])) assert.ok(wreck.events.length > 0);
  return batches;
}

test('P7: what is sealed is decoded as it was, whatever its events hold', async (t) => {
  await fuzz(t, 250, events, (some) => {
    const { bytes } = new FakeNode().next('logins', 'log', some);
    const [batch] = decoded(bytes);
    const wanted = JSON.stringify(JSON.parse(JSON.stringify(some)));
    const inOrder = some.map(({ time, action, item, before, after, data }) => ({
      time,
      action,
      item,
      before,
      after,
      data,
    }));
    assert.equal(JSON.stringify([...batch!.events()]).length, wanted.length);
    assert.deepEqual(JSON.parse(JSON.stringify([...batch!.events()])), JSON.parse(JSON.stringify(inOrder)));
  });
});

test('P7: arbitrary bytes are decoded to the end', async (t) => {
  const pieces = fc.array(
    fc.oneof(
      fc.uint8Array({ maxLength: 200 }).map((some) => Buffer.from(some)),
      fc
        .constantFrom('{"dsac":1', '{"dsac":', '{"time":', '{"end":', '\n', '\0', '}')
        .map((mark) => Buffer.from(mark)),
      fc.json().map((json) => Buffer.from(`${json}\n`)),
      fc.json().map((json) => Buffer.from(`{"dsac":1,"x":${json}${' '.repeat(150)}}\n{"end":1,"count":0}\n`)),
    ),
    { maxLength: 30 },
  );
  await fuzz(t, 500, pieces, (some) => void decoded(Buffer.concat(some)));
});

test('P7: whatever happens to a segment, every batch that is still whole is found', async (t) => {
  await fuzz(t, 400, fc.tuple(segment, mutations), ([batches, all]) => {
    const bytes = mutated(bytesOf(batches), all);
    const found = decoded(bytes).map((batch) => batch.bytes.toString('latin1'));
    const whole = bytes.toString('latin1');
    for (const { bytes: one } of batches) {
      const wanted = one.toString('latin1');
      if (whole.includes(wanted)) assert.ok(found.includes(wanted), 'a whole batch was not found');
    }
  });
});

test('P7: batches between any damage are found, and nothing else is', async (t) => {
  const damage = fc.uint8Array({ maxLength: 80 }).map((some) => Buffer.from([...some, 0x0a]));
  await fuzz(
    t,
    200,
    fc.tuple(segment, fc.array(damage, { minLength: 5, maxLength: 5 })),
    ([batches, between]) => {
      const bytes = Buffer.concat(batches.flatMap((batch, n) => [between[n]!, batch.bytes]));
      assert.deepEqual(
        decoded(bytes).map(({ trailer }) => trailer.sha256),
        batches.map(({ trailer }) => trailer.sha256),
      );
    },
  );
});

test('P7: a compressed file is unfolded whole or refused', async (t) => {
  const frames = fc.array(fc.uint8Array({ maxLength: 400 }), { minLength: 1, maxLength: 5 });
  await fuzz(t, 150, fc.tuple(frames, fc.option(mutations)), async ([parts, all]) => {
    const folded = Buffer.concat(parts.map((part) => zstdCompressSync(part)));
    if (all === null) {
      assert.ok((await unfold(folded)).equals(Buffer.concat(parts)));
      return;
    }
    try {
      await unfold(mutated(folded, all));
    } catch (error) {
      assert.ok(error instanceof Error);
    }
  });
});

/** What may stand where a member of an event should: what is hardly right, or hardly wrong, or neither. */
const members: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  time: fc.oneof(
    fc
      .tuple(
        fc.constantFrom('1900', '2000', '2023', '2024'),
        fc.constantFrom('00', '02', '04', '12', '13', '1a'),
        fc.constantFrom('00', '01', '28', '29', '30', '31', '32'),
        fc.constantFrom(
          '00:00:00.000Z',
          '23:59:59.999Z',
          '24:00:00.000Z',
          '00:60:00.000Z',
          '00:00:60.000Z',
          '00:00:00,000Z',
        ),
      )
      .map(([year, month, day, rest]) => `${year}-${month}-${day}T${rest}`),
    fc
      .constantFrom('1900-02-29', '2000-02-29', '2023-02-29', '2024-02-29', '2024-02-30', '2024-04-31')
      .map((day) => `${day}T00:00:00.000Z`),
    text,
  ),
  action: fc.oneof(
    fc.stringMatching(/^[a-zA-Z0-9-]{0,3}$/),
    fc.stringMatching(/^[a-z][a-z0-9-]{61,65}$/),
    text,
  ),
  item: fc.oneof(
    text,
    fc.nat({ max: 0xff }).map((code) => String.fromCharCode(code)),
    fc.nat({ max: 600 }).map((n) => 'x'.repeat(n)),
  ),
  source: fc.oneof(fc.stringMatching(/^[a-z0-9-]{0,3}$/), fc.constant(undefined)),
  before: fc.oneof(fields, fc.anything()),
  after: fc.dictionary(
    text,
    fc.oneof(
      fc.array(fc.constantFrom(1, undefined)),
      fc.constantFrom(Infinity, -0, 1e300, undefined, new Date(0), new Map()),
    ),
  ),
  by: fc.oneof(
    fc.record(
      {
        user: text,
        uid: fc.constantFrom(0, 0.5, -1, Infinity, '0', null),
        command: fc.constantFrom('x', 1),
        from: text,
      },
      { requiredKeys: [], noNullPrototype: true },
    ),
    fc.dictionary(text, text, { noNullPrototype: true }),
    fc.anything(),
  ),
  data: fc.anything({
    withBigInt: true,
    withDate: true,
    withMap: true,
    withTypedArray: true,
    withObjectString: true,
  }),
  extra: fc.anything(),
};

test('P7: what is taken for an event at once is one, and the same one, by the schema', async (t) => {
  const odd = fc.constantFrom(...Object.keys(members)).chain((name) => fc.record({ [name]: members[name]! }));
  const known = new Set<string>();
  await fuzz(t, 6000, fc.tuple(events, odd), ([some, member]) => {
    const event = { time: '2026-11-23T02:00:00.000Z', action: 'x', ...some[0], ...member };
    if (!isEvent(event)) return;
    for (const name of Object.keys(event)) known.add(name);
    const parsed = eventSchema.safeParse(event);
    assert.ok(parsed.success, `the schema refuses ${JSON.stringify(event)}: ${parsed.error}`);
    assert.deepEqual(event, parsed.data);
  });
  assert.deepEqual([...known].sort(), Object.keys(eventSchema.shape).sort(), 'each member was tried');
  await fuzz(t, 250, events, (some) => {
    for (const event of some)
      assert.ok(event.time.includes('-02-29') || isEvent(event), 'the slow way for a common event');
  });
});

/** Canonical JSON as docs/format.md §2 defines it, in the fewest words. */
function inOrder(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(inOrder)}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const byKey = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${byKey.map(([key, member]) => `${JSON.stringify(key)}:${inOrder(member)}`)}}`;
}

test('canonical JSON has its keys in order, whatever and however many they are', async (t) => {
  const key = fc.oneof(text, fc.nat({ max: 200 }).map(String));
  const many = fc.dictionary(key, fields, { maxKeys: 40, noNullPrototype: true });
  await fuzz(t, 400, fc.oneof(many, fc.jsonValue({ maxDepth: 5, stringUnit: 'binary' })), (value) => {
    assert.equal(canonical(value), inOrder(value));
  });
});

test('P7: a message may be anything', async (t) => {
  const property = fc.oneof(fc.constantFrom('dsac.batch.v1', 'zstd', undefined), fc.anything());
  const bodies = fc.oneof(
    fc.uint8Array({ maxLength: 300 }).map((some) => Buffer.from(some)),
    fc.tuple(segment, mutations).map(([batches, all]) => mutated(bytesOf(batches), all)),
    segment.map((batches) => zstdCompressSync(bytesOf(batches))),
  );
  await fuzz(t, 300, fc.tuple(bodies, property, property), async ([content, type, contentEncoding]) => {
    const properties = { type, contentEncoding } as MessageProperties;
    const { batches, damages } = await unpack({ content, properties });
    assert.ok(batches.length + damages.length > 0);
    for (const { reason } of damages) assert.ok(reason.length > 0 && reason.length < 2000);
  });
});

const utmpFiles = ['lab12.wtmp', 'lab12.btmp', 'derived-ppc64be-lab12.wtmp', 'derived-s390x-lab12.wtmp'].map(
  (name) => readFileSync(join(fixtures, 'utmp', name)),
);

function partsOf(bytes: Buffer, layout = detectLayout(bytes)): UtmpPart[] {
  const parts = [...decodeUtmp(bytes, layout)];
  let at = 0;
  for (const { offset, length } of parts) {
    assert.equal(offset, at);
    assert.ok(length > 0);
    at += length;
  }
  assert.ok(at <= bytes.length && bytes.length - at < recordSize(layout), 'all but a last part of a record');
  return parts;
}

test('P7: login records are read to the end, whatever the bytes and the layout', async (t) => {
  const input = fc.tuple(fc.uint8Array({ maxLength: 5000, size: 'max' }), fc.constantFrom(...LAYOUTS));
  await fuzz(t, 150, input, ([bytes, layout]) => void partsOf(Buffer.from(bytes), layout));
});

test('P7: whatever happens within a login file, the records far from it are read', async (t) => {
  await fuzz(t, 200, fc.tuple(fc.constantFrom(...utmpFiles), mutations), ([file, all]) => {
    const layout = detectLayout(file);
    const whole = Buffer.concat([file, file, file]);
    const middle = mutated(whole, all);
    // What is mutated is between two copies that are not.
    const bytes = Buffer.concat([whole, middle, whole]);
    const shown = (part: UtmpPart): string[] =>
      part.record === undefined || part.record.type === 0 ? [] : [JSON.stringify(part.record)];
    const expected = partsOf(whole, layout).flatMap(shown);
    const found = partsOf(bytes, layout).flatMap(shown);
    assert.deepEqual(found.slice(0, expected.length - 8), expected.slice(0, -8));
    const far = Math.ceil(lookAhead(layout) / recordSize(layout));
    assert.deepEqual(found.slice(far - expected.length), expected.slice(far));
  });
});

const VALID = `host: web1
agents:
  packages: { every: 30m }
  my-check: { type: exec, command: [/bin/check], kind: inventory, every: 1d }
dispatchers:
  broker: { type: amqp, url: 'amqp://broker', agents: ['*'], deadline: 5m, attempts: 3 }
processors: { archive: {}, store: {} }
store: { url: 'sqlite:store.db' }
`;

test('P7: a configuration is taken, or refused with where it is wrong', async (t) => {
  const file = join(temporary(t), 'dsac.yaml');
  const word = fc.constantFrom(
    'host',
    'agents',
    'packages',
    '__proto__',
    'every',
    'store',
    'constructor',
    '1h',
    '*a',
    '&a',
    '<<',
    '!!',
    '? ',
    '- ',
  );
  const yaml = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 100 }),
    fc.json(),
    mutations.map((all) => mutated(Buffer.from(VALID), all).toString('latin1')),
    fc
      .array(fc.tuple(fc.nat({ max: 3 }), word, word), { maxLength: 8 })
      .map((lines) =>
        lines.map(([indent, key, value]) => `${'  '.repeat(indent)}${key}: ${value}`).join('\n'),
      ),
  );
  await fuzz(t, 400, yaml, async (source) => {
    writeFileSync(file, source);
    try {
      await loadConfig(file, true);
    } catch (error) {
      assert.ok(error instanceof DsacError, `${error}`);
      assert.equal(error.kind, 'config');
      assert.match(error.message, /dsac\.yaml(?::\d+)?(?::\d+)?: /);
    }
  });
});

test('P7: a length of time is read back as it was written, and anything else is refused', async (t) => {
  await fuzz(t, 300, fc.nat({ max: 2 ** 50 }), (ms) =>
    assert.equal(parseDuration(formatDuration(ms)), ms === 0 ? 0 : ms),
  );
  const now = new Date('2026-11-24T10:00:00.000Z');
  await fuzz(
    t,
    500,
    fc.oneof(
      text,
      fc.stringMatching(/^[0-9.]{1,20}(ms|[smhdw])$/),
      fc.stringMatching(/^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}Z)?$/),
    ),
    (some) => {
      const duration = parseDuration(some);
      assert.ok(duration === undefined || (Number.isSafeInteger(duration) && duration >= 0));
      try {
        const time = parseTime(some, now, '--since');
        assert.ok(Number.isFinite(time.getTime()));
        if (/^\d{4}-\d{2}-\d{2}/.test(some)) assert.equal(time.toISOString().slice(0, 10), some.slice(0, 10));
      } catch (error) {
        assert.ok(error instanceof DsacError && error.kind === 'usage', `${error}`);
      }
    },
  );
});
