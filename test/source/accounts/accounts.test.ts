/** What is an entry and what is not was taken from glibc 2.36: getpwent, getgrent and getspent over the same lines. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  dayText,
  isNisName,
  parseGroup,
  parsePasswd,
  parseShadow,
  readSecret,
} from '../../../src/source/accounts/accounts.ts';
import { fixtures, sharedFixture } from '../../helpers/tree.ts';

const evil = (name: string): Buffer => readFileSync(join(fixtures, 'adversarial-accounts', name));
const namesIn = (entries: readonly { readonly name: string }[]): string[] => entries.map(({ name }) => name);
const lines = (...all: string[]): Buffer => Buffer.from(`${all.join('\n')}\n`);

test('the lines of a hostile passwd that glibc takes for users are users, and no others', () => {
  const { entries, skipped } = parsePasswd(evil('passwd.evil'));
  assert.deepEqual(namesIn(entries), [
    '\ufeffroot',
    'toor',
    'ev\x1b[31mil',
    'latin',
    'long',
    'max',
    'dup',
    'dup',
    'crlf',
    'huge',
    '',
    'nopw',
    'inline',
    'noshell',
    '+@admins',
    '-bad',
    '+',
    'nonl',
  ]);
  assert.equal(skipped, 6, 'NUL in the name, too few fields, -2, 2^32, 0x10, blanks around the number');
});

test('fields of a passwd line are read as glibc does, numbers with blanks or a plus before them too', () => {
  const entry = (line: string) => parsePasswd(lines(line)).entries[0];
  assert.equal(entry('a:x:+5:6::/:/s')?.uid, 5);
  assert.equal(entry('a:x: 5:006::/:/s')?.gid, 6);
  assert.equal(entry('  a:x:5:6')?.name, 'a');
  assert.equal(entry('a:x:5:6:g:/h:/s:more')?.shell, '/s:more');
  assert.equal(entry('a:x::6:::'), undefined);
  assert.equal(entry('a:x:5x:6:::'), undefined);
  assert.equal(entry('a:x:4294967295:6:::')?.uid, 4294967295);
});

test('the lines of a hostile group that glibc takes for groups are groups', () => {
  const { entries, skipped } = parseGroup(evil('group.evil'));
  assert.deepEqual(namesIn(entries), ['root', 'wheel', 'big', 'dup', 'dup', 'esc', '+', 'last']);
  assert.equal(skipped, 2);
  assert.deepEqual(entries[1]?.members, ['alice', 'bob', 'root']);
  assert.equal(entries[2]?.members.length, 12_000);
});

test('the lines of a hostile shadow that glibc takes for entries are entries', () => {
  const { entries, skipped } = parseShadow(evil('shadow.evil'));
  assert.deepEqual(namesIn(entries), [
    'root',
    'nopw',
    'locked',
    'bang',
    'bb',
    'y',
    'md5',
    'des',
    'exp',
    'zero',
    '+',
    'huge',
  ]);
  assert.equal(skipped, 2);
});

test('a shadow line counts with its old five fields or whole, not with any other number of them', () => {
  const taken = parseShadow(
    lines(
      'a:*:1:2:3',
      'b:*:1:2:3:',
      'c:*:1:2:3:4:5:6',
      'd:*:1:2:3:4:5:6:7',
      'e:*:::::::',
      'no1:*',
      'no2:*:1',
      'no3:*:1:2:',
      'no4:*:1:2:3:4',
      'no5:*:1:2:3:4:5',
      'no6:*:1:2:3:::',
      'no7:*:1:2:3:4:5:6:7:8',
      'no8:*:1:2:3:-1:::',
      'no9:*:1 :2:3:::',
    ),
  );
  assert.deepEqual(namesIn(taken.entries), ['a', 'b', 'c', 'd', 'e']);
});

test('each form of a password field is told apart, and a lock keeps the hash it covers', () => {
  const hash = '$6$salt$hash';
  assert.deepEqual(readSecret(''), { state: 'none', hash: undefined });
  assert.deepEqual(readSecret(hash), { state: 'set', hash });
  assert.deepEqual(readSecret(`!${hash}`), { state: 'locked', hash });
  for (const locked of ['!', '!!', '!*'])
    assert.deepEqual(readSecret(locked), { state: 'locked', hash: undefined });
  for (const disabled of ['*', '*LK*', 'x'])
    assert.deepEqual(readSecret(disabled), { state: 'disabled', hash: undefined });
});

test('a hash that stands in the wrong field is not shown', () => {
  const [entry] = parsePasswd(lines('$6$salt$abcdef:1:0:0:$y$j9T$salt$hash:/h:/bin/sh')).entries;
  assert.deepEqual([entry?.name, entry?.gecos], ['[hash]', '[hash]']);
  assert.deepEqual(parseGroup(lines('g:x:1:$1$a$b,bob')).entries[0]?.members, ['[hash]', 'bob']);
});

test('a day is a date, and one that no calendar has is none', () => {
  assert.equal(dayText(18262), '2020-01-01');
  assert.equal(dayText(0), '1970-01-01');
  for (const none of [undefined, 4_000_000_000, Number.NaN]) assert.equal(dayText(none), undefined);
});

const shared: readonly [file: string, entries: number, nis: number][] = [
  ['apko.passwd', 42, 0],
  ['jc-centos7.passwd', 21, 0],
  ['shadow-nis-server.passwd', 24, 2],
  ['sudo-testsudoers.passwd', 7, 0],
  ['apko.group', 54, 0],
  ['jc-centos7.group', 39, 0],
  ['shadow-nis-server.group', 43, 1],
  ['sudo-testsudoers.group', 17, 0],
  ['apko.shadow', 18, 0],
  ['shadow-nis-server.shadow', 21, 1],
];
const parsers = { passwd: parsePasswd, group: parseGroup, shadow: parseShadow };

for (const [file, count, nis] of shared) {
  test(`${file} of another project is read whole`, (t) => {
    const path = sharedFixture(t, `accounts/${file}`);
    if (path === undefined) return;
    const parse = parsers[file.split('.')[1] as keyof typeof parsers];
    const { entries } = parse(readFileSync(path));
    assert.deepEqual([entries.length, entries.filter(({ name }) => isNisName(name)).length], [count, nis]);
  });
}
