import assert from 'node:assert/strict';
import test from 'node:test';
import logins from '../../reports/logins.ts';
import type { BatchEvent } from '../../src/spool/batch.ts';
import { at } from '../store/stores.ts';
import { reportConformance, reportRows, reportText, storeWith } from '../suites/report.ts';
import { HOSTILE, log } from './nodes.ts';

function event(clock: string, action: string, data: BatchEvent['data'], source = 'wtmp'): BatchEvent {
  return { time: at(clock), action, item: 'session/wtmp/pts/0/1', source, data: data ?? {} };
}

const day = () => [
  log('logins', '09:00', [
    event('02:00', 'login', { user: 'alice', tty: 'pts/0', from: '10.0.0.1', service: 'sshd' }),
    event('03:05', 'logout', {
      user: 'alice',
      tty: 'pts/0',
      start: at('02:00'),
      end: at('03:05'),
      duration_s: 3900,
      reason: 'logout',
    }),
    { ...event('04:00', 'failed', { user: HOSTILE, from: HOSTILE, count: 3 }, 'btmp'), item: 'attempt/1' },
    {
      ...event('05:00', 'sudo', { user: 'alice', as: 'root', command: '/usr/bin/id' }, 'journal'),
      item: 'sudo/1',
    },
  ]),
];

reportConformance(logins, day);

test('a session is one row with its end and length', async () => {
  const [session, ...others] = await reportRows(logins, day());
  const { user, tty, from, service, end, duration_s } = session!;
  assert.deepEqual(
    { user, tty, from, service, end, duration_s },
    { user: 'alice', tty: 'pts/0', from: '10.0.0.1', service: 'sshd', end: at('03:05'), duration_s: 3900 },
  );
  assert.deepEqual(
    others.map(({ action }) => action),
    ['failed', 'sudo'],
  );
});

test('the table says how long, how often and what for', async () => {
  const store = await storeWith(day());
  const text = await reportText(store, logins, 'table');
  assert.match(
    text,
    /2026-11-23 02:00:00 +web1 +login +alice +10\.0\.0\.1 +pts\/0 +sshd +2026-11-23 03:05:00 +1h 5m$/m,
  );
  assert.match(text, /failed .* 3 times$/m);
  assert.match(text, /sudo +alice .* as root, \/usr\/bin\/id$/m);
  await store.close();
});

test('what was forged, damaged or lost says what it was', async () => {
  const odd = ['forged', 'record-damaged', 'history-lost'];
  const batch = log(
    'logins',
    '09:00',
    odd.map((action) => ({ ...event('04:00', action, { detail: `${action}: so it says` }), item: action })),
  );
  assert.deepEqual(
    (await reportRows(logins, [batch])).map(({ detail }) => detail),
    odd.map((action) => `${action}: so it says`),
  );
  const store = await storeWith([batch]);
  const text = await reportText(store, logins, 'table');
  for (const action of odd) assert.match(text, new RegExp(` ${action} .* ${action}: so it says$`, 'm'));
  await store.close();
});
