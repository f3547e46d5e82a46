import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { type TestContext, test } from 'node:test';
import {
  compareApk,
  compareDpkg,
  comparePacman,
  compareRpm,
  compareVersions,
} from '../../../src/source/packages/version.ts';

type Compare = (a: string, b: string) => number;

/** Asserts that every version in the list is older than all behind it, asked either way round. */
function assertAscending(compare: Compare, versions: readonly string[]): void {
  for (const [at, older] of versions.entries()) {
    assert.equal(compare(older, older), 0, `${older} equals itself`);
    for (const newer of versions.slice(at + 1)) {
      assert.ok(compare(older, newer) < 0, `${older} is older than ${newer}`);
      assert.ok(compare(newer, older) > 0, `${newer} is newer than ${older}`);
    }
  }
}

function assertEqual(compare: Compare, pairs: readonly (readonly [string, string])[]): void {
  for (const [a, b] of pairs) {
    assert.equal(compare(a, b), 0, `${a} equals ${b}`);
    assert.equal(compare(b, a), 0, `${b} equals ${a}`);
  }
}

test('dpkg: a tilde sorts before the end, the end before letters, letters before all else', () => {
  assertAscending(compareDpkg, ['1~~', '1~~a', '1~', '1~rc1', '1', '1a', '1b', '1+', '1.', '1.0.1']);
});

test('dpkg: numbers compare as numbers, whatever their length, and the epoch above all', () => {
  assertAscending(compareDpkg, [
    '0.9',
    '0.10',
    '1.2-1~bpo12+1',
    '1.2-1',
    '1.2-1+b1',
    '1.2-1+deb12u1',
    '1.2-2',
    '1.2-10',
    '1.2.0',
    '1.20260101000000000000000000000001',
    '1.20260101000000000000000000000002',
    '1:0.1',
    '2:0~',
    '10:0',
  ]);
});

test('dpkg: a hyphen in the upstream version is not the revision', () => {
  assertAscending(compareDpkg, ['1.0-rc1-1', '1.0-rc1-2', '1.0-rc2-1', '1.0.1-1']);
});

test('dpkg: leading zeros, epoch 0 and revision 0 make no difference', () => {
  assertEqual(compareDpkg, [
    ['1.0', '0:1.0'],
    ['1.0', '1.0-0'],
    ['1.01', '1.1'],
    ['1.0', '1.'],
    ['00:1', '0:1'],
  ]);
});

test('rpm: a tilde sorts before the end, a caret after it but before more of the version', () => {
  assertAscending(compareRpm, [
    '1.0~~-1',
    '1.0~rc1-1',
    '1.0~rc1^git1-1',
    '1.0-1',
    '1.0^-1',
    '1.0^git1-1',
    '1.0^git1^x-1',
    '1.0.1~a-1',
    '1.0.1-1',
  ]);
});

test('rpm: a number beats letters, more segments beat fewer, then the release counts', () => {
  assertAscending(compareRpm, [
    '1.a-1',
    '1.b-1',
    '1.0-1',
    '1.0-1.el8',
    '1.0-1.el9',
    '1.0-1.el10',
    '1.0-2',
    '1.0.0-1',
    '1.1a-1',
    '1.1a1-1',
    '5.14.0-1',
    '20101121-1',
    '1:0.9-1',
  ]);
});

test('rpm: separators, leading zeros and epoch 0 make no difference', () => {
  assertEqual(compareRpm, [
    ['2.0-1', '2_0-1'],
    ['2.0.-1', '2.0-1'],
    ['1.05-1', '1.5-1'],
    ['0:1-1', '1-1'],
    ['1.0+b-1', '1.0.b-1'],
  ]);
});

test('pacman: letters left over are older than the end, all else left over is newer', () => {
  assertAscending(comparePacman, [
    '1.0a',
    '1.0alpha',
    '1.0b',
    '1.0beta',
    '1.0p',
    '1.0pre',
    '1.0rc',
    '1.0',
    '1.0.a',
    '1.0.1',
    '1.1',
    '1:0.1',
  ]);
});

test('pacman: the length of a separator counts, a release only when both have one', () => {
  assertAscending(comparePacman, ['2_a', '2___a']);
  assertAscending(comparePacman, ['1.5-1', '1.5-1.1', '1.5-2', '1.5-10']);
  assertEqual(comparePacman, [
    ['1.5', '1.5-2'],
    ['0:1.5-1', '1.5-1'],
    ['2.0', '2_0'],
  ]);
});

test('apk: suffixes before and after a release, letters, hashes and revisions', () => {
  assertAscending(compareApk, [
    '1.2_alpha',
    '1.2_alpha1',
    '1.2_alpha1_p1',
    '1.2_beta',
    '1.2_pre2',
    '1.2_pre10',
    '1.2_rc1-r5',
    '1.2',
    '1.2-r0',
    '1.2-r9',
    '1.2-r10',
    '1.2~5a3f-r0',
    '1.2_cvs1',
    '1.2_svn1',
    '1.2_git20240101-r0',
    '1.2_hg1',
    '1.2_p1',
    '1.2_p10-r0',
    '1.2a',
    '1.2b_rc1',
    '1.2b',
    '1.2.1',
    '1.10',
    '20240101',
  ]);
});

test('apk: a number with a leading zero is a fraction, unless it is the first', () => {
  assertAscending(compareApk, ['1.001', '1.01', '1.02.07', '1.02.10', '1.1', '006']);
});

test('apk: versions outside its grammar still have an order', () => {
  assertAscending(compareApk, ['1.0', '1.0bc', '4_foo', '23_bar']);
});

test('each manager has its own order', () => {
  const orders = (['dpkg', 'rpm', 'apk', 'pacman'] as const).map((manager) =>
    Math.sign(compareVersions(manager, '1.0rc', '1.0')),
  );
  assert.deepEqual(orders, [1, 1, 1, -1]);
});

/** Numbers from a fixed seed (mulberry32), so that a failure can be repeated. */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function randomPairs(count: number, parts: readonly string[]): [string, string][] {
  const random = randomNumbers(20_261_124);
  const below = (n: number): number => Math.floor(random() * n);
  const version = (): string =>
    `${below(5) === 0 ? `${below(3)}:` : ''}${below(3)}${Array.from({ length: below(6) }, () => parts[below(parts.length)]).join('')}-${below(12)}`;
  return Array.from({ length: count }, () => [version(), version()]);
}

/** Asserts that `compare` says of each pair what the manager itself said: -1, 0 or 1 a pair, white space between. */
function assertAgrees(t: TestContext, compare: Compare, pairs: [string, string][], said: string): void {
  const expected = said.trim().split(/\s+/).map(Number);
  assert.equal(expected.length, pairs.length, said.slice(0, 200));
  for (const [at, [a, b]] of pairs.entries())
    assert.equal(Math.sign(compare(a, b)), expected[at], `${a} against ${b}`);
  t.diagnostic(`${pairs.length} pairs compared`);
}

test('agrees with dpkg itself on random versions', (t) => {
  const pairs = randomPairs(150, [
    '0',
    '00',
    '1',
    '10',
    '9',
    'a',
    'Z',
    'rc',
    '~',
    '~~',
    '~rc1',
    '+',
    '.',
    '-',
  ]);
  const script = pairs.map(
    ([a, b]) =>
      `if dpkg --compare-versions ${a} lt ${b}; then echo -1; elif dpkg --compare-versions ${a} eq ${b}; then echo 0; else echo 1; fi`,
  );
  const input = ['command -v dpkg >/dev/null || exit 69', ...script, ''].join('\n');
  const dpkg = spawnSync('sh', [], { input, encoding: 'utf8' });
  if (dpkg.status === 69) t.skip('left out: no dpkg here');
  else assertAgrees(t, compareDpkg, pairs, dpkg.stdout);
});

test('agrees with rpm itself on random versions', (t) => {
  const pairs = randomPairs(1000, [
    '0',
    '00',
    '1',
    '10',
    '9',
    'a',
    'Z',
    'rc',
    '~',
    '^',
    '.',
    '_',
    '+',
    '.el9',
  ]);
  const lua = pairs.map(([a, b]) => `print(rpm.vercmp('${a}', '${b}') .. ' ')`).join(' ');
  const rpm = spawnSync('rpm', ['--eval', `%{lua:${lua}}`], { encoding: 'utf8' });
  if (rpm.error) t.skip('left out: no rpm here');
  else if (rpm.stdout.startsWith('%')) t.skip('left out: this rpm has no Lua');
  else assertAgrees(t, compareRpm, pairs, rpm.stdout);
});
