import assert from 'node:assert/strict';
import test from 'node:test';
import type { BatchEvent, Fields } from '../../src/spool/batch.ts';
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
  return Array.fromAsync(loginRows(stream(), { since: new Date(0), until: new Date(at('00:00', 30)) }));
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

const REFUSED = [
  event('btmp', '02:00:00', 'failed', { user: 'bob', pid: 774 }),
  event('authlog', '02:00:00', 'su-failed', { user: 'alice', as: 'bob', pid: 774 }),
];
const ALLOWED = [
  event(
    'wtmpdb',
    '02:00:00',
    'login',
    { user: 'root', service: 'su-l' },
    { logout: { time: at('02:00:09'), data: { duration_s: 9 } } },
  ),
  event('journal', '02:00:01', 'su', { user: 'bob', as: 'root', pid: 5 }),
];
const ORDERS: Record<string, (pair: SessionEvent[]) => SessionEvent[]> = {
  'is told first': (pair) => pair,
  'is told last': (pair) => pair.toReversed(),
};
for (const [name, events] of Object.entries(ORDERS)) {
  test(`a su that was refused is one row with who asked, when PAM's record ${name}`, async () => {
    const rows = await rowsOf(events(REFUSED));
    assert.deepEqual(
      rows.map(({ action, user, as, source }) => [action, user, as, source?.split('+').sort()]),
      [['su-failed', 'alice', 'bob', ['authlog', 'btmp']]],
    );
  });
  test(`a su is one row with who asked and its end, when PAM's record ${name}`, async () => {
    const rows = await rowsOf(events(ALLOWED));
    assert.deepEqual(
      rows.map(({ action, user, as, end, duration_s }) => [action, user, as, end, duration_s]),
      [['su', 'bob', 'root', at('02:00:09'), 9]],
    );
  });
}

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
  'refused in two processes': [
    event('btmp', '02:00:00', 'failed', { user: 'bob', pid: 773 }),
    event('authlog', '02:00:00', 'su-failed', { user: 'alice', as: 'bob', pid: 774 }),
  ],
  'under su and over ssh': [
    event('wtmpdb', '02:00:00', 'login', { user: 'bob', service: 'su' }),
    event('journal', '02:00:00', 'login', { user: 'bob', from: '10.0.0.1', tty: 'pts/1', service: 'sshd' }),
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

for (const guessed of ['replaced', 'crash', 'boot']) {
  for (const recorded of ['logout', 'shutdown']) {
    test(`an end by ${recorded} in one source wins over ${guessed} in another`, async () => {
      const session = (source: string, clock: string, reason: string, duration_s: number) =>
        event(
          source,
          '02:00:00',
          'login',
          { user: 'olga', tty: 'pts/1' },
          {
            logout: { time: at(clock), data: { reason, duration_s } },
          },
        );
      const told = [session('wtmp', '02:00:05', guessed, 5), session('wtmpdb', '02:00:01', recorded, 1.007)];
      for (const order of [told, told.toReversed()]) {
        const [row, ...more] = await rowsOf(order);
        assert.deepEqual(more, []);
        assert.deepEqual([row?.end, row?.reason, row?.duration_s], [at('02:00:01'), recorded, 1.007]);
      }
    });
  }
}

const sshd = (pid: number) => ({ user: 'alice', from: '10.0.0.1', service: 'sshd', pid });
const onTty = (tty: string, pid?: number) => ({
  user: 'alice',
  from: '10.0.0.1',
  tty,
  ...(pid && { pid }),
});

test('of two logins at once, each source’s word goes to the one of the same process', async () => {
  const rows = await rowsOf([
    event('authlog', '02:00:00', 'login', { ...sshd(1), method: 'password' }),
    event('authlog', '02:00:01', 'login', { ...sshd(2), method: 'publickey' }),
    event('wtmp', '02:00:01', 'login', onTty('pts/0', 2)),
    event('wtmp', '02:00:01', 'login', onTty('pts/1', 1)),
  ]);
  assert.deepEqual(
    rows.map(({ method, tty }) => `${method} ${tty}`),
    ['password pts/1', 'publickey pts/0'],
  );
});

test('two processes of sshd are two logins, though near in time', async () => {
  const rows = await rowsOf([
    event('authlog', '02:00:00', 'login', sshd(1)),
    event('wtmp', '02:00:01', 'login', onTty('pts/0', 2)),
  ]);
  assert.equal(rows.length, 2);
});

test('without a process the nearest in time is the same login', async () => {
  const rows = await rowsOf([
    event('journal', '02:00:00', 'login', { ...sshd(1), method: 'password' }),
    event('journal', '02:00:02', 'login', { ...sshd(2), method: 'publickey' }),
    event('wtmpdb', '02:00:02', 'login', onTty('pts/0')),
  ]);
  assert.deepEqual(
    rows.map(({ method, tty }) => `${method} ${tty}`),
    ['password null', 'publickey pts/0'],
  );
});

test('a session on one terminal never joins a login on another, even of the same process', async () => {
  const rows = await rowsOf([
    event('wtmp', '02:00:00', 'login', onTty('pts/0', 1)),
    event('wtmpdb', '02:00:00', 'login', onTty('pts/1', 1)),
  ]);
  assert.equal(rows.length, 2);
});

const attempt = (source: string, clock: string, user: string, more: Fields = {}) =>
  event(source, clock, 'failed', { user, from: '10.0.0.1', service: 'sshd', pid: 7, ...more });
const UNKNOWN = { invalid_user: true, detail: 'no such account' };

const NAMES: Record<string, [btmp: string, log: string]> = {
  'a plain name': ['nosuchuser', 'nosuchuser'],
  'a name that btmp cut': ['u'.repeat(32), 'u'.repeat(100)],
  'bytes that are no text': ['bad\\xff\\xfeutf8', 'bad\\377\\376utf8'],
  'a character that btmp cut in two': [`${'u'.repeat(31)}\\xc3`, `${'u'.repeat(31)}é`],
};
for (const [what, [short, full]] of Object.entries(NAMES)) {
  test(`two btmp records and the log’s line of one unknown user are one attempt: ${what}`, async () => {
    const rows = await rowsOf([
      attempt('btmp', '02:00:00', short, { tty: 'ssh:notty' }),
      attempt('authlog', '02:00:01', full, UNKNOWN),
      attempt('btmp', '02:00:04', short, { tty: 'ssh:notty' }),
    ]);
    assert.deepEqual(
      rows.map(({ user, source, count, invalid_user }) => ({ user, source, count, invalid_user })),
      [{ user: full, source: 'btmp+authlog', count: 1, invalid_user: true }],
    );
  });
}

const ATTEMPTS: Record<string, SessionEvent[]> = {
  'that only btmp tells of': [attempt('btmp', '02:00:00', 'x'), attempt('btmp', '02:00:02', 'x')],
  'of two names, one the start of the other': [
    attempt('btmp', '02:00:00', 'roo'),
    attempt('authlog', '02:00:00', 'root', UNKNOWN),
  ],
  'from two addresses': [
    attempt('btmp', '02:00:00', 'x', { from: '10.0.0.2' }),
    attempt('authlog', '02:00:00', 'x', UNKNOWN),
  ],
  'of a user that exists': [
    attempt('btmp', '02:00:00', 'x'),
    attempt('authlog', '02:00:00', 'x'),
    attempt('btmp', '02:00:02', 'x'),
  ],
};
for (const [what, events] of Object.entries(ATTEMPTS)) {
  test(`two attempts ${what} stay two rows`, async () => assert.equal((await rowsOf(events)).length, 2));
}

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
    const rows = await Array.fromAsync(loginRows(sessionEventsIn(store, window), window));
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

test('a login of which wtmp has the name that DNS gives for the address in the log is one row', async () => {
  const told = (from: string, pid: number, other = 'client.example') => [
    event('journal', '02:00:00', 'login', { user: 'alice', from, service: 'sshd', pid: 7 }),
    event('wtmp', '02:00:01', 'login', { user: 'alice', from: other, tty: 'pts/0', pid }),
  ];
  for (const address of ['10.0.0.1', '2001:db8::1', 'fe80::1%eth0'])
    for (const events of [told(address, 7), told(address, 7).toReversed()]) {
      const rows = await rowsOf(events);
      assert.deepEqual(
        rows.map(({ from, tty }) => [from, tty]),
        [[address, 'pts/0']],
      );
    }
  assert.equal((await rowsOf(told('10.0.0.1', 8))).length, 2, 'another process');
  assert.equal((await rowsOf(told('10.0.0.1', 7, '10.0.0.2'))).length, 2, 'two addresses');
});

onEachStore(
  'what two sources tell on both sides of a moment is in one of the windows that meet there',
  async (_t, store) => {
    const told = (source: string, clock: string, millis: string, action: string): BatchEvent => ({
      time: at(clock).replace('.000Z', `.${millis}Z`),
      action,
      item: `session/${source}`,
      source,
      data: { user: 'alice', from: '10.0.0.1', pid: 7 },
    });
    const node = new FakeNode();
    await store.load([
      node.next('logins', 'log', [
        told('wtmp', '01:59:59', '900', 'login'),
        told('journal', '02:00:00', '100', 'login'),
        told('wtmp', '02:59:59', '900', 'logout'),
        told('journal', '03:00:00', '100', 'logout'),
      ]),
    ]);
    const rowsIn = async (from: string, to: string): Promise<unknown[]> => {
      const window = { since: new Date(at(from)), until: new Date(at(to)) };
      const rows = await Array.fromAsync(loginRows(sessionEventsIn(store, window), window));
      return rows.map(({ time, action, source, end }) => [
        time.slice(11, 19),
        action,
        source,
        end?.slice(11, 19),
      ]);
    };
    const login = ['01:59:59', 'login', 'wtmp+journal', '02:59:59'];
    const logout = ['02:59:59', 'logout', 'wtmp+journal', '02:59:59'];
    assert.deepEqual(await rowsIn('01:00', '04:00'), [login]);
    assert.deepEqual(await rowsIn('01:00', '02:00'), [login]);
    assert.deepEqual(await rowsIn('02:00', '03:00'), [logout]);
    assert.deepEqual(await rowsIn('03:00', '04:00'), []);
    assert.deepEqual(await rowsIn('01:59:30', '02:59:30'), [login]);
  },
);
