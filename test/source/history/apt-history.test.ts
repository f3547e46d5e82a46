import assert from 'node:assert/strict';
import { test } from 'node:test';
import { aptHistory, parseAptPackages } from '../../../src/source/history/apt-history.ts';
import { clockOf } from '../../../src/source/localtime.ts';

const NOW = new Date('2026-11-24T12:00:00Z');

/** What stanzas of text come to, read as one run would: every line, then the end. */
function told(lines: readonly string[], zone = 'UTC') {
  const parser = aptHistory(clockOf(zone), NOW);
  const state = parser.begin();
  const events = lines.flatMap((line) => parser.line(state, Buffer.from(line, 'latin1')));
  return [...events, ...parser.settle(state, NOW)];
}

test('versions with commas, colons and tildes stay whole, and automatic is no version', () => {
  const { packages, rest } = parseAptPackages(
    'foo:amd64 (1:1.0-1~22.04, automatic), b-1.0+2:any (2), c (1.0,2), d:i386 (1, 2:0)',
  );
  assert.equal(rest, '');
  assert.deepEqual(
    packages.map(({ name, arch, versions, auto }) => [name, arch, versions, auto]),
    [
      ['foo', 'amd64', ['1:1.0-1~22.04'], true],
      ['b-1.0+2', 'any', ['2'], false],
      ['c', undefined, ['1.0,2'], false],
      ['d', 'i386', ['1', '2:0'], false],
    ],
  );
});

test('a purge of what was only configuration has no version, as apt writes none', () => {
  const [event] = told([
    'Start-Date: 2026-11-23  01:00:00',
    'Purge: a:amd64 ()',
    'End-Date: 2026-11-23  01:00:01',
  ]);
  assert.deepEqual([event?.action, event?.item, event?.before], ['purged', 'dpkg/a/amd64', undefined]);
});

test('a package that disappeared, as another took over all of its files, was removed', () => {
  const events = told([
    'Start-Date: 2026-11-23  01:00:00',
    'Commandline: apt-get install new',
    'Install: new:amd64 (1)',
    'Disappeared: old (1), older (2:0)',
    'End-Date: 2026-11-23  01:00:01',
  ]);
  assert.deepEqual(
    events.map(({ action, item, before, by }) => [action, item, before?.version, by?.command]),
    [
      ['installed', 'dpkg/new/amd64', undefined, 'apt-get install new'],
      ['removed', 'dpkg/old', '1', 'apt-get install new'],
      ['removed', 'dpkg/older', '2:0', 'apt-get install new'],
    ],
  );
});

test('a list that is cut gives the packages before the cut, and the rest is said to be lost', () => {
  assert.deepEqual(parseAptPackages('a:all (1), b:amd64 (1.0').rest, 'b:amd64 (1.0');
  const events = told([
    'Start-Date: 2026-11-23  01:00:00',
    'Remove: a:all (1), b:amd64 (1.0',
    'End-Date: 2026-11-23  01:00:01',
  ]);
  assert.deepEqual(
    events.map(({ action, item }) => [action, item]),
    [
      ['removed', 'dpkg/a/all'],
      ['history-lost', 'history/apt'],
    ],
  );
  assert.match(
    events[1]!.data!.lost!,
    /Remove of 2026-11-23 {2}01:00:00: not a list of packages from 'b:amd64 \(1\.0'/,
  );
});

test('an account name with parentheses and colons is not cut at them', () => {
  const [event] = told([
    'Start-Date: 2026-11-23  01:00:00',
    'Requested-By: a:b (c) (1000)',
    'Install: a:all (1)',
    '',
  ]);
  assert.deepEqual(event!.by, { user: 'a:b (c)', uid: 1000 });
});

test('times are those of the system’s zone', () => {
  const [event] = told(
    ['Start-Date: 2026-11-23  01:00:00', 'Install: a:all (1)', 'End-Date: 2026-11-23  01:00:09'],
    'Europe/Berlin',
  );
  assert.equal(event!.time, '2026-11-23T00:00:00.000Z');
  assert.equal(event!.data!.end, '2026-11-23T00:00:09.000Z');
});

test('a run that has not ended waits, a day at most, and is then told as unfinished', () => {
  assert.deepEqual(told(['Start-Date: 2026-11-24  11:00:00', 'Install: a:all (1)']), []);
  const [event] = told(['Start-Date: 2026-11-23  11:00:00', 'Install: a:all (1)']);
  assert.deepEqual([event!.action, event!.data!.unfinished], ['installed', true]);
});

test('packages under a date that is no date are told with the time of the run and what was written', () => {
  const [event] = told(['Start-Date: garbage', 'Install: a:all (1)', 'End-Date: ']);
  assert.deepEqual([event!.time, event!.data!.written_time], [NOW.toISOString(), 'garbage']);
});

test('an upgrade to the same version is a reinstallation', () => {
  const [event] = told(['Start-Date: 2026-11-23  11:00:00', 'Upgrade: a:all (1, 1)', '']);
  assert.equal(event!.action, 'reinstalled');
});

test('two commands of one second are two transactions', () => {
  const stanza = [
    'Start-Date: 2026-11-23  11:00:00',
    'Install: a:all (1)',
    'End-Date: 2026-11-23  11:00:00',
    '',
  ];
  assert.deepEqual(
    told([...stanza, ...stanza]).map(({ data }) => data!.transaction),
    ['2026-11-23  11:00:00', '2026-11-23  11:00:00#2'],
  );
});

test('a command line of a hundred kilobytes is told whole once, not with each of a thousand packages', () => {
  const command = `apt-get -o A=${'x'.repeat(100_000)} install`;
  const list = Array.from({ length: 1000 }, (_, index) => `p${index}:all (1)`).join(', ');
  const events = told([
    'Start-Date: 2026-11-23  11:00:00',
    `Commandline: ${command}`,
    `Install: ${list}`,
    '',
  ]);
  assert.equal(events[0]!.by!.command, command);
  assert.ok(events.length === 1000 && JSON.stringify(events).length < 4_000_000);
});
