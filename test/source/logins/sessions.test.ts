import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  isoTime,
  itemKey,
  MAX_OPEN,
  OpenSessions,
  type Session,
  secondsBetween,
} from '../../../src/source/logins/sessions.ts';

const at = (second: number): string => isoTime(1_795_402_000 + second)!;
const session = (name: string, second = 0): Session => ({
  item: `session/${name}`,
  start: at(second),
  user: name,
});

test('a logout carries what its login said, after a round through JSON', () => {
  const first = new OpenSessions();
  const [login] = [...first.begin('pts/0', { ...session('ann'), from: '10.0.0.1', tty: 'pts/0' })];
  const later = new OpenSessions(JSON.parse(JSON.stringify(first.saved())));
  const [logout, ...more] = [...later.end('pts/0', at(90_061), 'logout')];
  assert.equal(logout?.item, login?.item);
  assert.deepEqual(logout?.data, {
    user: 'ann',
    from: '10.0.0.1',
    tty: 'pts/0',
    start: at(0),
    end: at(90_061),
    duration_s: 90_061,
    reason: 'logout',
  });
  assert.deepEqual(more, []);
  assert.deepEqual(later.saved(), []);
});

test('a slot that is taken again ends the former session as replaced, at the start of the new one', () => {
  const open = new OpenSessions();
  const events = [...open.begin('pts/0', session('ann')), ...open.begin('pts/0', session('ben', 60))];
  assert.deepEqual(
    events.map(({ action, item, data }) => [action, item, data?.reason]),
    [
      ['login', 'session/ann', undefined],
      ['logout', 'session/ann', 'replaced'],
      ['login', 'session/ben', undefined],
    ],
  );
});

test('a logout without a login is nothing', () => {
  assert.deepEqual([...new OpenSessions().end('pts/9', at(0), 'logout')], []);
});

test('the cursor stays bounded, and the session that falls out is told', () => {
  const open = new OpenSessions();
  const events = Array.from({ length: MAX_OPEN + 3 }, (_, n) => [
    ...open.begin(`ftp${n}`, session(`u${n}`)),
  ]).flat();
  assert.equal(open.saved().length, MAX_OPEN);
  const lost = events.filter(({ action }) => action === 'history-lost');
  assert.deepEqual(
    lost.map(({ item }) => item),
    ['session/u0', 'session/u1', 'session/u2'],
  );
});

test('times that the format cannot write are refused, not thrown on', () => {
  assert.equal(isoTime(1_795_402_293, 398_823), '2026-11-23T02:51:33.398Z');
  assert.equal(isoTime(-1), '1969-12-31T23:59:59.000Z');
  for (const seconds of [2 ** 60, -(2 ** 60), 253_402_300_800, Number.NaN])
    assert.equal(isoTime(seconds), undefined);
});

test('durations keep milliseconds, and item keys have no control characters', () => {
  assert.equal(secondsBetween('2026-11-23T02:51:33.398Z', '2026-11-23T02:51:34.404Z'), 1.006);
  assert.equal(itemKey('session', 'a\u001b[2Jb', 5), 'session/a\\x1b[2Jb/5');
});
