import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import {
  decodeUtmp,
  detectLayout,
  type Layout,
  nativeLayout,
  recordSize,
} from '../../../src/source/logins/utmp.ts';
import { fixtures, sharedFixture } from '../../helpers/tree.ts';

const golden = (name: string): string => join(fixtures, '..', 'golden', `logins-utmp-${name}.jsonl`);
const lab12 = readFileSync(join(fixtures, 'utmp/lab12.wtmp'));

/** What the expected decodes say of each record: every field, in the file's order, types that do not exist included. */
function asExpected(bytes: Buffer): unknown[] {
  const layout = detectLayout(bytes);
  let n = 0;
  return [...decodeUtmp(bytes, layout)].map(({ record, damage, offset }) => {
    if (record === undefined) return { n: n++, damage, type: bytes.readInt16LE(offset) };
    return { n: n++, ...record };
  });
}

function expected(path: string): unknown[] {
  return readFileSync(path, 'utf8')
    .trim()
    .split('\n')
    .map((line) => {
      const { addr_hex: _, ...record } = JSON.parse(line) as { addr_hex: string; type: number; n: number };
      if (record.type >= 0 && record.type <= 9) return record;
      return { n: record.n, damage: `type ${record.type}, expected 0 to 9`, type: record.type };
    });
}

const own: Record<string, Layout> = {
  'utmp/lab12.wtmp': '384le',
  'utmp/lab12.btmp': '384le',
  'utmp/lab12.run-utmp': '384le',
  'utmp/lab13-phase1.wtmp': '384le',
  'utmp/derived-ppc64be-lab12.wtmp': '384be',
  'utmp/derived-s390x-lab12.wtmp': '400be',
  'adversarial/synthetic-evil.wtmp': '384le',
};

for (const [path, layout] of Object.entries(own)) {
  test(`${path}: layout ${layout} is found and every field is decoded`, () => {
    const bytes = readFileSync(join(fixtures, path));
    assert.equal(detectLayout(bytes, '400le'), layout, 'whatever the hint');
    assert.deepEqual(asExpected(bytes), expected(golden(path.split('/')[1]!)));
  });
}

const shared: Record<string, Layout> = {
  'aarch64-alltypes.utmp': '400le',
  'x86_64-alltypes.utmp': '384le',
  'x86_64-corrupted.utmp': '384le',
  'x86_64-desktop.utmp': '384le',
  'x86_64-wtmp-trailing-byte.wtmp': '384le',
};

for (const [name, layout] of Object.entries(shared)) {
  test(`${name}: layout ${layout} is found and every field is decoded`, (t: TestContext) => {
    const path = sharedFixture(t, `utmp/${name}`);
    const decode = path && sharedFixture(t, `expected/utmp__${name}.jsonl`);
    if (!path || !decode) return;
    const bytes = readFileSync(path);
    assert.equal(detectLayout(bytes, '384be'), layout);
    assert.deepEqual(asExpected(bytes), expected(decode));
  });
}

test('an empty file takes the layout of the machine, and has no records', () => {
  const layout = detectLayout(Buffer.alloc(0), nativeLayout('arm64', 'LE'));
  assert.equal(layout, '400le');
  assert.deepEqual([...decodeUtmp(Buffer.alloc(0), layout)], []);
});

test('the layouts of architectures: 400 bytes where the C library has 64-bit times in utmp', () => {
  assert.equal(nativeLayout('x64', 'LE'), '384le');
  assert.equal(nativeLayout('arm64', 'LE'), '400le');
  assert.equal(nativeLayout('s390x', 'BE'), '400be');
  assert.equal(nativeLayout('ppc64', 'BE'), '384be');
  assert.equal(nativeLayout('ppc64', 'LE'), '384le');
});

for (const [what, junk] of [
  ['a torn record', lab12.subarray(384, 384 + 50)],
  ['a hole of NUL bytes', Buffer.alloc(133)],
  ['noise', Buffer.from(Array.from({ length: 1000 }, (_, n) => (n * 167 + 13) & 0xff))],
] as const) {
  test(`${what} between two records costs no other record`, () => {
    const cut = 4 * 384;
    const bytes = Buffer.concat([lab12.subarray(0, cut), junk, lab12.subarray(cut)]);
    const parts = [...decodeUtmp(bytes, '384le')];
    const whole = [...decodeUtmp(lab12, '384le')].map(({ record }) => record);
    const found = parts.flatMap(({ record }) => (record === undefined || record.type === 0 ? [] : [record]));
    assert.deepEqual(found, whole);
    assert.ok(
      parts.some(({ damage }) => damage !== undefined),
      'the damage is told',
    );
  });
}

test('parts lie one after another and never beyond the input, whatever the bytes', () => {
  const layouts = fc.constantFrom<Layout>('384le', '384be', '400le', '400be');
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 3000, size: 'max' }), layouts, (input, layout) => {
      const bytes = Buffer.from(input);
      let at = 0;
      for (const part of decodeUtmp(bytes, layout)) {
        assert.equal(part.offset, at);
        assert.ok(part.length > 0);
        at += part.length;
      }
      assert.ok(at <= bytes.length && bytes.length - at < recordSize(layout));
    }),
    { numRuns: 300 },
  );
});

test('100,000 records are decoded in a part of a second of processor time', () => {
  const bytes = Buffer.concat(Array.from({ length: 9091 }, () => lab12));
  const before = process.cpuUsage();
  let records = 0;
  for (const part of decodeUtmp(bytes, '384le')) if (part.record) records += 1;
  assert.equal(records, 100_001);
  const { user } = process.cpuUsage(before);
  assert.ok(user < 2e6, `took ${user / 1e6} seconds`);
});
