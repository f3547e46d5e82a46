import assert from 'node:assert/strict';
import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { System } from '../../src/host/system.ts';
import { clockOf, localClock } from '../../src/source/localtime.ts';
import { type TreeFile, tree } from '../helpers/tree.ts';

/** A TZif file whose footer is `rule`; the rest is not looked at. */
const tzif = (rule: string): Buffer => Buffer.from(`TZif2${'\0'.repeat(39)}\n${rule}\n`, 'latin1');

for (const [zone, wall, utc] of [
  ['UTC', '2026-11-23 02:50:16', '2026-11-23T02:50:16.000Z'],
  ['Europe/Berlin', '2026-11-23  02:50:16', '2026-11-23T01:50:16.000Z'],
  ['Europe/Berlin', '2026-07-01T00:00:00', '2026-06-30T22:00:00.000Z'],
  ['America/New_York', '2026-11-22 21:50:16', '2026-11-23T02:50:16.000Z'],
  ['Asia/Kolkata', '2026-01-01 00:00:00', '2025-12-31T18:30:00.000Z'],
  ['Pacific/Apia', '2011-12-31 00:10:00', '2011-12-30T10:10:00.000Z'],
] as const) {
  test(`${wall} in ${zone} is ${utc}`, () => assert.equal(clockOf(zone).parse(wall), utc));
}

test('an hour that clocks skip lands behind the gap, one they show twice is the first of the two', () => {
  const berlin = clockOf('Europe/Berlin');
  assert.equal(berlin.parse('2026-03-29 01:59:59'), '2026-03-29T00:59:59.000Z');
  assert.equal(berlin.parse('2026-03-29 02:30:00'), '2026-03-29T01:30:00.000Z');
  assert.equal(berlin.parse('2026-03-29 03:00:00'), '2026-03-29T01:00:00.000Z');
  assert.equal(berlin.parse('2026-10-25 02:30:00'), '2026-10-25T00:30:00.000Z');
  assert.equal(berlin.parse('2026-10-25 03:00:00'), '2026-10-25T02:00:00.000Z');
  assert.equal(clockOf('Australia/Lord_Howe').parse('2026-04-05 01:45:00'), '2026-04-04T14:45:00.000Z');
});

test('what is no date or time of day is no time', () => {
  const utc = clockOf('UTC');
  for (const wall of [
    'garbage',
    '',
    '2026-02-30 00:00:00',
    '2026-13-01 00:00:00',
    '2026-01-01 24:00:00',
    '26-1-1 0:0:0',
  ])
    assert.equal(utc.parse(wall), undefined, wall);
  assert.equal(utc.parse('2016-12-31 23:59:60'), '2016-12-31T23:59:59.000Z');
});

test('a log of a hundred thousand lines spends seconds elsewhere, not on its times', () => {
  const clock = clockOf('Europe/Berlin');
  const began = performance.now();
  for (let line = 0; line < 100_000; line++)
    clock.parse(`2026-07-${10 + (line % 20)} 12:34:${10 + (line % 50)}`);
  assert.ok(performance.now() - began < 5000);
});

for (const [what, files, zone] of [
  [
    '/etc/timezone when /etc/localtime is a copy',
    { 'etc/timezone': 'Asia/Tokyo\n', 'etc/localtime': tzif('JST-9') },
    'Asia/Tokyo',
  ],
  [
    'the zoneinfo file with the bytes of the copy',
    {
      'etc/localtime': tzif('CET-1CEST,M3.5.0,M10.5.0/3'),
      'usr/share/zoneinfo/Europe/Rome': tzif('CET-1CEST,M3.5.0,M10.5.0/3'),
    },
    'Europe/Rome',
  ],
  ['the fixed offset of a copy without a name', { 'etc/localtime': tzif('<+03>-3') }, 'Etc/GMT-3'],
  ['UTC for a copied UTC', { 'etc/localtime': tzif('UTC0') }, 'UTC'],
  ['UTC when nothing says otherwise', {}, 'UTC'],
  ['UTC when /etc/timezone is nonsense', { 'etc/timezone': 'Mars/Olympus' }, 'UTC'],
] as const satisfies readonly (readonly [string, Record<string, TreeFile>, string])[]) {
  test(`the zone of a system is ${what}`, async (t) => {
    assert.equal((await localClock(new System(tree(t, files)))).zone, zone);
  });
}

test('the zone of a system is the one that /etc/localtime links to, tzdata there or not', async (t) => {
  for (const target of ['/usr/share/zoneinfo/Europe/Berlin', '../usr/share/zoneinfo/posix/Europe/Berlin']) {
    const root = tree(t, { 'etc/timezone': 'Asia/Tokyo\n' });
    symlinkSync(target, join(root, 'etc/localtime'));
    assert.equal((await localClock(new System(root))).zone, 'Europe/Berlin');
  }
});
