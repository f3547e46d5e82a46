import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { JournalReader } from '../../../src/source/logins/journal.ts';
import type { LoginEvent } from '../../../src/source/logins/sessions.ts';
import { fixtures } from '../../helpers/tree.ts';

const LATER = '2027-01-01T00:00:00.000Z';

function readAll(lines: Iterable<Buffer>, reader = new JournalReader()): LoginEvent[] {
  const events = Array.from(lines, (line) => [...reader.read(line, LATER)]).flat();
  return [...events, ...reader.finish(LATER)];
}

function fixtureLines(path: string): Buffer[] {
  const bytes = readFileSync(join(fixtures, path)).toString('latin1');
  return bytes.split('\n').flatMap((line) => (line === '' ? [] : [Buffer.from(line, 'latin1')]));
}

/** Entries as real ones look, in their order. */
function entries(...all: Record<string, unknown>[]): Buffer[] {
  return all.map((fields, n) =>
    Buffer.from(
      JSON.stringify({ __REALTIME_TIMESTAMP: String(1_795_402_292_000_000 + n * 1000), ...fields }),
    ),
  );
}

const sshd = { SYSLOG_IDENTIFIER: 'sshd', _COMM: 'sshd', _EXE: '/usr/sbin/sshd', _UID: '0', _PID: '77' };
const accepted = 'Accepted publickey for root from 10.0.0.1 port 22 ssh2: ED25519 SHA256:x';
const actions = (events: readonly LoginEvent[]): string[] => events.map(({ action }) => action);

function tally(events: readonly LoginEvent[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { action } of events) counts[action] = (counts[action] ?? 0) + 1;
  return counts;
}

test('a real journal: each login, failure and command once, the forged line apart', () => {
  const events = readAll(fixtureLines('journal/lab12.logins.json'));
  assert.deepEqual(tally(events), {
    login: 6,
    logout: 5,
    failed: 10,
    'sudo-failed': 3,
    sudo: 13,
    su: 2,
    'su-failed': 1,
    forged: 1,
  });
  const users = events.filter(({ action }) => action === 'login').map(({ data }) => data?.user);
  assert.deepEqual(users, ['alice', 'alice', 'alice', 'bob', 'alice', 'alice']);
  const forged = events.find(({ action }) => action === 'forged');
  assert.equal(forged?.data?.user, undefined);
  assert.match(
    forged?.data?.detail ?? '',
    /^claims to be sshd, .*Accepted publickey for forged from 203\.0\.113\.9/,
  );
});

test('a logout of the journal has the session id that logind gave, and the connection of its login', () => {
  const events = readAll(fixtureLines('journal/lab12.logins.json'));
  const logout = events.find(({ action }) => action === 'logout');
  assert.deepEqual(logout?.data, {
    user: 'alice',
    from: '127.0.0.1',
    port: 54388,
    service: 'sshd',
    method: 'publickey',
    pid: 626,
    session: '1',
    start: '2026-11-23T02:51:32.974Z',
    end: '2026-11-23T02:51:33.129Z',
    duration_s: 0.155,
    reason: 'logout',
  });
});

test('who called sudo is the user id that the kernel vouches for', () => {
  const events = readAll(fixtureLines('journal/lab12.logins.json'));
  const sudo = events.find(
    ({ action, data }) => action === 'sudo' && data?.command === '/usr/bin/apt-get update',
  );
  assert.deepEqual(sudo?.by, { user: 'alice', uid: 1000, command: '/usr/bin/apt-get update' });
  assert.deepEqual([sudo?.data?.as, sudo?.data?.cwd, sudo?.data?.tty], ['root', '/root/scn/debs', undefined]);
});

test('the pieces of a long sudo command are joined as they were cut', () => {
  const events = readAll(fixtureLines('journal/lab12.logins.json'));
  const long = events.find(({ data }) => data?.command?.includes('qqqq'));
  assert.match(long?.data?.command ?? '', /^\/usr\/bin\/sh -c 'echo "?q{3000}"?/);
});

for (const [what, fields] of Object.entries({
  'logger as another user': { _COMM: 'logger', _EXE: '/usr/bin/logger', _UID: '1000' },
  'logger as root': { _COMM: 'logger', _EXE: '/usr/bin/logger', _UID: '0' },
  'a program of the user that is called sshd': { _EXE: '/home/eve/sshd', _UID: '1000' },
  'such a program with capabilities of its own namespace': {
    _EXE: '/tmp/sshd',
    _UID: '1000',
    _CAP_EFFECTIVE: '1ffffffffff',
  },
  'a process of a user that was gone when journald looked': {
    _COMM: undefined,
    _EXE: undefined,
    _UID: '1000',
    _CAP_EFFECTIVE: '0',
  },
})) {
  test(`a login told by ${what} is forged, not a login`, () => {
    const events = readAll(entries({ ...sshd, MESSAGE: accepted, ...fields }));
    assert.deepEqual(actions(events), ['forged']);
    assert.equal(events[0]?.data?.service, 'sshd');
  });
}

test('sshd under the names that OpenSSH 10 gives its parts is sshd', () => {
  const session = { ...sshd, SYSLOG_IDENTIFIER: 'sshd-session', _COMM: 'sshd-session' };
  const events = readAll(
    entries(
      { ...session, MESSAGE: accepted },
      { ...session, MESSAGE: 'pam_unix(sshd:session): session closed for user root' },
    ),
  );
  assert.deepEqual(actions(events), ['login', 'logout']);
  assert.equal(events[0]?.data?.service, 'sshd');
});

test('sudo whose process was gone is proven by its capabilities', () => {
  const refused = 'bob : user NOT in sudoers ; PWD=/ ; USER=root ; COMMAND=/usr/bin/id';
  const gone = { SYSLOG_IDENTIFIER: 'sudo', _COMM: 'sudo', _UID: '1001', MESSAGE: refused };
  assert.deepEqual(actions(readAll(entries({ ...gone, _CAP_EFFECTIVE: '1fffeffffff' }))), ['sudo-failed']);
  assert.deepEqual(actions(readAll(entries({ ...gone, _CAP_EFFECTIVE: '0' }))), ['forged']);
});

test('a session that only logind tells of is a login; one of a cron job or of a user manager is none', () => {
  const logind = {
    MESSAGE_ID: '8d45620c1a4348dbb17410da57c60c66',
    _COMM: 'systemd-logind',
    _UID: '0',
    SESSION_ID: '7',
    USER_ID: 'ann',
    LEADER: '900',
    PRIORITY: '6',
    MESSAGE: 'New session 7 of user ann.',
  };
  const stop = { ...logind, MESSAGE_ID: '3354939424b4456d9802ca8333ed424a', MESSAGE: 'Removed session 7.' };
  const events = readAll(entries(logind, stop));
  assert.deepEqual(
    events.map(({ action, data }) => [action, data?.user, data?.session]),
    [
      ['login', 'ann', '7'],
      ['logout', 'ann', '7'],
    ],
  );
  const manager = "New session '7' of user 'ann' with class 'manager' and type 'unspecified'.";
  assert.deepEqual(readAll(entries({ ...logind, PRIORITY: '7' }, { ...logind, MESSAGE: manager })), []);
  assert.deepEqual(
    readAll(entries({ ...logind, _COMM: 'logger', _UID: '1000' })),
    [],
    'forged by its message id',
  );
});

test('the session of a user’s own systemd is no login where logind does not name its class', () => {
  const opened = {
    SYSLOG_IDENTIFIER: '(systemd)',
    _COMM: '(systemd)',
    _UID: '0',
    _PID: '135',
    MESSAGE: 'pam_unix(systemd-user:session): session opened for user alice(uid=1000) by alice(uid=0)',
  };
  const logind = {
    MESSAGE_ID: '8d45620c1a4348dbb17410da57c60c66',
    _COMM: 'systemd-logind',
    _UID: '0',
    SESSION_ID: 'c2',
    USER_ID: 'alice',
    LEADER: '135',
    PRIORITY: '6',
    MESSAGE: 'New session c2 of user alice.',
  };
  assert.deepEqual(readAll(entries(opened, logind)), []);
  const first = new JournalReader();
  readAll(entries(opened), first);
  const state = JSON.parse(JSON.stringify(first.state()));
  assert.deepEqual(readAll(entries(logind), new JournalReader(state)), [], 'one run later');
  const later = { ...logind, __REALTIME_TIMESTAMP: '1795402353000000' };
  assert.deepEqual(actions(readAll(entries(opened, later))), ['login'], 'the process id came again');
  const forged = { ...opened, _UID: '1000' };
  assert.deepEqual(actions(readAll(entries(forged, logind))), ['login'], 'not written by root');
});

test('sessions end when the next boot begins', () => {
  const events = readAll(
    entries(
      { ...sshd, MESSAGE: accepted, _BOOT_ID: 'a' },
      { ...sshd, MESSAGE: 'Server listening', _BOOT_ID: 'b' },
    ),
  );
  assert.deepEqual(
    events.map(({ action, data }) => [action, data?.reason]),
    [
      ['login', undefined],
      ['logout', 'boot'],
    ],
  );
});

test('hostile entries: bytes, null, times beyond the calendar, no time, several lines, a cut line', () => {
  const events = readAll(fixtureLines('adversarial/journal.evil.json'));
  assert.deepEqual(tally(events), { 'record-damaged': 3, login: 1 });
  assert.equal(events.find(({ action }) => action === 'login')?.data?.from, '1.2.3.4');
});

test('reading in two runs gives the same events as in one, wherever the first ends', () => {
  const lines = fixtureLines('journal/lab12.logins.json');
  const whole = readAll(lines).filter(({ data }) => !data?.command?.includes('qqqq'));
  for (let cut = 1; cut < lines.length; cut++) {
    const first = new JournalReader();
    const events = readAll(lines.slice(0, cut), first);
    const second = new JournalReader(JSON.parse(JSON.stringify(first.state())));
    events.push(...readAll(lines.slice(cut), second));
    const plain = events.filter(({ data }) => !data?.command?.match(/qqqq|'echo$/));
    assert.deepEqual(plain, whole, `cut after ${cut} entries`);
  }
});
