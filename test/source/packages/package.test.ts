import assert from 'node:assert/strict';
import { test } from 'node:test';
import { named, type Package, timeOfSeconds, wholeNumber } from '../../../src/source/packages/package.ts';

function one(version: string | undefined, several = false, arch = 'x86_64'): Package {
  return { name: 'tool', arch, several, fields: { status: 'installed', ...(version ? { version } : {}) } };
}

function names(...packages: Package[]): string[] {
  return Array.from(named('rpm', packages), ([name, { fields }]) => `${name} = ${fields.version ?? '?'}`);
}

test('a name and architecture that occur once carry no version', () => {
  assert.deepEqual(names(one('1'), one('1', false, 'i686')), ['tool/x86_64 = 1', 'tool/i686 = 1']);
});

test('a package of which several coexist carries its version even when it is alone', () => {
  assert.deepEqual(names(one('1', true)), ['tool/x86_64/1 = 1']);
});

test('a second version leaves the name of the first as it was, in whichever order they are listed', () => {
  const expected = ['tool/x86_64 = 9', 'tool/x86_64/10 = 10'];
  assert.deepEqual(names(one('9'), one('10')), expected);
  assert.deepEqual(names(one('10'), one('9')), expected);
});

test('the same version twice gets two names', () => {
  assert.deepEqual(names(one('1'), one('1'), one('1'), one('2')), [
    'tool/x86_64 = 1',
    'tool/x86_64/1 = 1',
    'tool/x86_64/1/2 = 1',
    'tool/x86_64/2 = 2',
  ]);
});

test('a number or a time that is none is left out, not guessed', () => {
  assert.equal(wholeNumber('686', 1024), 702_464);
  for (const bad of [undefined, '', '-1', '1e3', '12 kB', '9'.repeat(40)])
    assert.equal(wholeNumber(bad), undefined);
  assert.equal(timeOfSeconds('1795402880'), '2026-11-23T03:01:20.000Z');
  for (const bad of [undefined, '', '0', '999999999999', 'yesterday'])
    assert.equal(timeOfSeconds(bad), undefined);
});
