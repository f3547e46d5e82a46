import assert from 'node:assert/strict';
import test from 'node:test';
import type { Fields } from '../../src/spool/batch.ts';
import { type SessionEvent, sessionEventsIn } from '../../src/store/events.ts';
import { type LoginRow, loginRows } from '../../src/store/login-rows.ts';
import { FakeNode } from '../helpers/batches.ts';
import { at, onEachStore } from './stores.ts';

function event(
  source: string,
  clock: string,
  action: string,
  data: Fields,
  more: Partial<SessionEvent> = {},
): SessionEvent {
  const base = {
    node: 'n1',
    host: 'web1',
    agent: 'logins',
    since: null,
    derived: false,
    item: null,
    logout: undefined,
  };
  return {
    ...base,
    before: undefined,
    after: undefined,
    by: undefined,
    time: at(clock),
    source,
    action,
    data,
    ...more,
  };
}

async function rowsOf(events: readonly SessionEvent[]): Promise<LoginRow[]> {
  async function* stream(): AsyncGenerator<SessionEvent> {
    yield* events;
  }
  return Array.fromAsync(loginRows(stream()));
}

test('a login that wtmp and the journal tell is one row with what both know', async () => {
  const rows = await rowsOf([
    event('journal', '02:00:00', 'login', {
      user: 'alice',
      from: '10.0.0.1',
      method: 'publickey',
      service: 'sshd',
    }),
    event('wtmp', '02:00:02', 'login', { user: 'alice', from: '10.0.0.1', tty: 'pts/0' }),
  ]);
  assert.equal(rows.length, 1);
  const { user, tty, from, method, source } = rows[0]!;
  assert.deepEqual(
    { user, tty, from, method, source },
    {
      user: 'alice',
      tty: 'pts/0',
      from: '10.0.0.1',
      method: 'publickey',
      source: 'journal+wtmp',
    },
  );
});

const APART: Record<string, SessionEvent[]> = {
  'of two users': [
    event('journal', '02:00:00', 'login', { user: 'alice' }),
    event('wtmp', '02:00:00', 'login', { user: 'bob' }),
  ],
  'from two addresses': [
    event('journal', '02:00:00', 'login', { user: 'alice', from: '10.0.0.1' }),
    event('wtmp', '02:00:00', 'login', { user: 'alice', from: '10.0.0.2' }),
  ],
  'four seconds apart': [
    event('journal', '02:00:00', 'login', { user: 'alice' }),
    event('wtmp', '02:00:04', 'login', { user: 'alice' }),
  ],
  'on two nodes': [
    event('journal', '02:00:00', 'login', { user: 'alice' }),
    event('wtmp', '02:00:00', 'login', { user: 'alice' }, { node: 'n2' }),
  ],
  'told by one source': [
    event('wtmp', '02:00:00', 'login', { user: 'alice', tty: 'pts/0' }),
    event('wtmp', '02:00:00', 'login', { user: 'alice', tty: 'pts/1' }),
  ],
};
for (const [what, events] of Object.entries(APART)) {
  test(`two logins ${what} stay two rows`, async () => assert.equal((await rowsOf(events)).length, 2));
}

test('two sessions at once, told by two sources each, are two rows', async () => {
  const rows = await rowsOf([
    event('journal', '02:00:00', 'login', { user: 'alice' }),
    event('wtmp', '02:00:00', 'login', { user: 'alice', tty: 'pts/0' }),
    event('journal', '02:00:01', 'login', { user: 'alice' }),
    event('wtmp', '02:00:01', 'login', { user: 'alice', tty: 'pts/1' }),
  ]);
  assert.deepEqual(
    rows.map(({ tty, source }) => `${tty} ${source}`),
    ['pts/0 journal+wtmp', 'pts/1 journal+wtmp'],
  );
});

test('data of the wrong types loses that field, not the row', async () => {
  const [row] = await rowsOf([event('exec', '02:00:00', 'failed', { user: 7, count: 'many', from: 'x' })]);
  assert.equal(row?.user, null);
  assert.equal(row?.from, 'x');
});

onEachStore(
  'a session is one row at its login; one that began before the window is a row at its logout',
  async (_t, store) => {
    const login = (item: string, clock: string) => ({
      time: at(clock),
      action: 'login',
      item,
      source: 'wtmp',
      data: { user: 'alice', tty: item },
    });
    const logout = (item: string, clock: string, seconds: number) => ({
      time: at(clock),
      action: 'logout',
      item,
      source: 'wtmp',
      data: { user: 'alice', tty: item, duration_s: seconds, reason: 'logout' },
    });
    const node = new FakeNode();
    await store.load([
      node.next('logins', 'log', [
        login('old', '01:00'),
        login('in', '02:00'),
        logout('old', '02:30', 5400),
        logout('in', '03:00', 3600),
        login('late', '03:30'),
        login('open', '03:40'),
        logout('late', '09:00', 19_800),
      ]),
    ]);
    const window = { since: new Date(at('01:30')), until: new Date(at('04:00')) };
    const rows = await Array.fromAsync(loginRows(sessionEventsIn(store, window)));
    assert.deepEqual(
      rows.map(({ time, action, tty, end, duration_s }) => [
        time.slice(11, 16),
        action,
        tty,
        end?.slice(11, 16),
        duration_s,
      ]),
      [
        ['02:00', 'login', 'in', '03:00', 3600],
        ['02:30', 'logout', 'old', '02:30', 5400],
        ['03:30', 'login', 'late', '09:00', 19_800],
        ['03:40', 'login', 'open', undefined, null],
      ],
    );
  },
);
