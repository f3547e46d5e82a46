import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { text } from '../../../src/host/text.ts';
import { clockOf } from '../../../src/source/localtime.ts';
import { AuthlogReader, parseLogLine, yearlessToUtc } from '../../../src/source/logins/authlog.ts';
import { authFact } from '../../../src/source/logins/authmessage.ts';
import type { LoginEvent } from '../../../src/source/logins/sessions.ts';
import { fixtures, sharedFixture } from '../../helpers/tree.ts';

const UTC = clockOf('UTC');
const LATEST = Date.parse('2026-11-24T03:41:00Z');
const LATER = '2027-01-01T00:00:00.000Z';

function readAll(lines: readonly string[], latest = LATEST): LoginEvent[] {
  const reader = new AuthlogReader();
  const events = lines.flatMap((line) => [...reader.read(line, UTC, latest, LATER)]);
  return [...events, ...reader.finish(LATER)];
}

const linesOf = (path: string): string[] => text(readFileSync(path)).split('\n');
const lines = (...messages: string[]): string[] =>
  messages.map((message) => `2026-11-23T03:00:00Z h ${message}`);

function tally(events: readonly LoginEvent[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { action } of events) counts[action] = (counts[action] ?? 0) + 1;
  return counts;
}

test('a real auth.log: each login, failure and command once, the forged line apart', () => {
  const events = readAll(linesOf(join(fixtures, 'authlog/lab12.auth.log')));
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
  const failed = events
    .filter(({ action }) => action === 'failed')
    .map(({ data }) => [data?.user, data?.from]);
  assert.deepEqual(failed.slice(0, 5), [
    ['bob', '127.0.0.1'],
    ['bob', '::1'],
    ['nosuchuser', '127.0.0.1'],
    ['bad\\377\\376utf8', '127.0.0.1'],
    ['root from 10.9.9.9 port 22 ssh2', '127.0.0.1'],
  ]);
});

test('lines that mislead: every event has the user and address that its writer vouches for', () => {
  const bytes = readFileSync(join(fixtures, 'adversarial/auth.evil.log'));
  const events = readAll(text(bytes).split('\n').slice(0, -1));
  assert.deepEqual(
    events.map(({ time, action, data }) => [time.slice(0, 19), action, data?.user, data?.from ?? data?.as]),
    [
      ['2026-11-23T03:00:00', 'login', 'alice', '10.0.0.1'],
      ['2024-02-29T03:00:00', 'failed', 'root', '10.0.0.2'],
      ['2026-11-23T03:00:01', 'failed', 'Accepted password for root from 6.6.6.6 port 1 ssh2', '10.0.0.3'],
      ['2026-11-23T03:00:01', 'failed', 'x\x1b[2Ky', '10.0.0.3'],
      ['2026-11-23T03:00:02', 'sudo', 'alice', 'root'],
      ['2026-11-23T03:00:02', 'sudo-failed', 'alice', 'root'],
      ['2026-11-23T03:00:05', 'failed', 'root', '10.0.0.9'],
      ['2026-11-23T02:00:06', 'login', 'bob', 'fe80::1%eth0'],
      ['2026-11-23T03:00:07', 'login', 'bob', '::ffff:10.0.0.1'],
      ['2026-11-23T03:00:09', 'su', 'alice', 'root'],
      ['2026-11-23T03:00:09', 'su-failed', 'alice', 'root'],
    ],
  );
  assert.equal(events[4]?.data?.command, '/x ; USER=root ; COMMAND=/bin/sh');
  assert.equal(events[5]?.data?.count, 3);
  assert.equal(events[6]?.data?.count, 2, 'message repeated 2 times');
});

test('an attempt of an invalid user that tries one password is one failure, with three passwords three', () => {
  const refused = 'sshd[5]: Invalid user eve from 10.0.0.1 port 9';
  const failed = 'sshd[5]: Failed password for invalid user eve from 10.0.0.1 port 9 ssh2';
  const closed = 'sshd[5]: Connection closed by invalid user eve 10.0.0.1 port 9 [preauth]';
  const count = (...messages: string[]): number =>
    readAll(lines(...messages)).reduce((sum, { data }) => sum + (data?.count ?? 1), 0);
  assert.equal(count(refused, closed), 1);
  assert.equal(count(refused, failed, closed), 1);
  assert.equal(count(refused, failed, failed, failed, closed), 3);
  assert.equal(
    count(
      refused,
      failed,
      'sshd[5]: message repeated 2 times: [ Failed password for invalid user eve from 10.0.0.1 port 9 ssh2]',
    ),
    3,
  );
  assert.equal(count(closed), 1);
  assert.equal(
    count('sshd[5]: Failed password for bob from 10.0.0.1 port 9 ssh2', 'last message repeated 4 times'),
    5,
  );
});

test('another user under the same process id is an attempt of its own', () => {
  const users = (...messages: string[]): unknown[] =>
    readAll(lines(...messages)).map(({ data }) => data?.user);
  const refused = 'sshd[5]: Invalid user eve from 10.0.0.1 port 9';
  const failed = 'sshd[5]: Failed password for invalid user mal from 10.0.0.1 port 9 ssh2';
  const closed = 'sshd[5]: Connection closed by invalid user mal 10.0.0.1 port 9 [preauth]';
  assert.deepEqual(users(refused, failed, closed), ['eve', 'mal']);
});

test('a name that was typed cannot say where it came from', () => {
  const from = (message: string): unknown => {
    const fact = authFact('sshd', message);
    return fact && 'from' in fact ? [fact.user, fact.from] : undefined;
  };
  const name = 'root from 10.9.9.9 port 22 ssh2';
  assert.deepEqual(from(`Invalid user ${name} from 10.0.0.1 port 9`), [name, '10.0.0.1']);
  assert.deepEqual(from(`Failed password for invalid user ${name} from 10.0.0.1 port 9 ssh2`), [
    name,
    '10.0.0.1',
  ]);
  assert.deepEqual(from(`Connection closed by invalid user ${name} 10.0.0.1 port 9 [preauth]`), [
    name,
    '10.0.0.1',
  ]);
  assert.deepEqual(from(`User ${name} from 10.0.0.1 not allowed because not listed in AllowUsers`), [
    name,
    '10.0.0.1',
  ]);
  const certificate = 'ssh2: ED25519-CERT SHA256:x ID a from 6.6.6.6 port 1 ssh2 (serial 1) CA RSA SHA256:y';
  assert.deepEqual(from(`Accepted publickey for root from 10.0.0.1 port 9 ${certificate}`), [
    'root',
    '10.0.0.1',
  ]);
});

test('without PAM the end of the connection is the logout, told by another process', () => {
  const events = readAll(
    lines(
      'sshd[7]: Accepted password for bob from 10.0.0.1 port 9 ssh2',
      'sshd[8]: Disconnected from user bob 10.0.0.1 port 10',
      'sshd[8]: Disconnected from user bob 10.0.0.1 port 9',
    ),
  );
  assert.deepEqual(tally(events), { login: 1, logout: 1 });
});

test('logins of other services are told by PAM, sessions of cron, su and the user manager are no logins', () => {
  const events = readAll(
    lines(
      'login[3]: pam_unix(login:session): session opened for user ann(uid=1000) by LOGIN(uid=0)',
      'CRON[4]: pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)',
      '(systemd): pam_unix(systemd-user:session): session opened for user ann(uid=1000) by (uid=0)',
      "login[5]: FAILED LOGIN (1) on '/dev/tty1' FOR 'bob', Authentication failure",
      'gdm-password]: pam_unix(gdm-password:auth): authentication failure; logname= uid=0 euid=0 tty=/dev/tty1 ruser= rhost=  user=ben',
      'login[3]: pam_unix(login:session): session closed for user ann',
    ),
  );
  assert.deepEqual(
    events.map(({ action, data }) => [action, data?.user, data?.service]),
    [
      ['login', 'ann', 'login'],
      ['failed', 'bob', 'login'],
      ['failed', 'ben', 'gdm-password]'],
      ['logout', 'ann', 'login'],
    ],
  );
});

test('sudo: tty, directory, target and reason each in their field; the command is the rest', () => {
  assert.deepEqual(
    authFact('sudo', '   ann : TTY=pts/0 ; PWD=/home/ann ; USER=root ; ENV=A=1 ; COMMAND=/bin/ls ; x'),
    {
      what: 'sudo',
      user: 'ann',
      as: 'root',
      command: '/bin/ls ; x',
      tty: 'pts/0',
      cwd: '/home/ann',
      refused: undefined,
      count: undefined,
    },
  );
  const refused = authFact(
    'sudo',
    'ann : command not allowed ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh',
  );
  assert.equal(refused?.what === 'sudo' && refused.refused, 'command not allowed');
  assert.equal(
    authFact('sudo', 'pam_unix(sudo:session): session opened for user root(uid=0) by (uid=0)')?.what,
    'opened',
  );
});

test('times without a year: the last year that the file allows, leap days included', () => {
  const newYear = Date.parse('2027-01-02T00:00:00Z');
  const at = (month: string, day: string, latest: number): string | undefined =>
    yearlessToUtc(month, day, '23:59:59', UTC, latest);
  assert.equal(at('Dec', '31', newYear), '2026-12-31T23:59:59.000Z');
  assert.equal(at('Jan', '1', newYear), '2027-01-01T23:59:59.000Z');
  assert.equal(at('Jan', '2', newYear), '2027-01-02T23:59:59.000Z', 'a day of grace');
  assert.equal(at('Jan', '4', newYear), '2026-01-04T23:59:59.000Z');
  assert.equal(at('Feb', '29', newYear), '2024-02-29T23:59:59.000Z');
  assert.equal(at('Feb', '30', newYear), undefined);
  assert.equal(at('AWS', '26', newYear), undefined);
});

test('times without a zone are the local time of the system', () => {
  const berlin = clockOf('Europe/Berlin');
  assert.equal(parseLogLine('Jul  1 12:00:00 h su: x', berlin, LATEST)?.time, '2026-07-01T10:00:00.000Z');
  assert.equal(
    parseLogLine('2026-01-01T12:00:00.5 h su: x', berlin, LATEST)?.time,
    '2026-01-01T11:00:00.500Z',
  );
  assert.equal(
    parseLogLine('2026-01-01T12:00:00.123456+05:30 h su: x', berlin, LATEST)?.time,
    '2026-01-01T06:30:00.123Z',
  );
});

test('RFC 5424: structured data is passed over, a missing process id is none', () => {
  const parsed = parseLogLine(
    '<38>1 2026-11-23T03:00:07Z h sshd - - [a@1 b="]\\"x"] Accepted x',
    UTC,
    LATEST,
  );
  assert.deepEqual([parsed?.program, parsed?.pid, parsed?.message], ['sshd', undefined, 'Accepted x']);
});

test('lines that are none are counted once per stretch, and the others are read', () => {
  const events = readAll([
    ...lines('su: (to root) ann on pts/1'),
    'rubbish',
    'more',
    '',
    ...lines('su: (to root) ben on pts/1'),
  ]);
  assert.deepEqual(
    events.map(({ action, data }) => [action, data?.user ?? data?.count]),
    [
      ['su', 'ann'],
      ['record-damaged', 2],
      ['su', 'ben'],
    ],
  );
});

test('reading in two runs gives the same events as in one, wherever the first ends', () => {
  const all = linesOf(join(fixtures, 'authlog/lab12.auth.log')).slice(0, -1);
  const isLong = ({ data }: LoginEvent): boolean => /qqqq|'echo$/.test(data?.command ?? '');
  const whole = readAll(all).filter((event) => !isLong(event));
  for (let cut = 1; cut < all.length; cut++) {
    const first = new AuthlogReader();
    const events = all.slice(0, cut).flatMap((line) => [...first.read(line, UTC, LATEST, LATER)]);
    events.push(...first.finish(LATER));
    const second = new AuthlogReader(JSON.parse(JSON.stringify(first.state())));
    events.push(
      ...all.slice(cut).flatMap((line) => [...second.read(line, UTC, LATEST, LATER)]),
      ...second.finish(LATER),
    );
    assert.deepEqual(
      events.filter((event) => !isLong(event)),
      whole,
      `cut after ${cut} lines`,
    );
  }
});

test('a sudo command that is still being written waits for its rest in the next run', () => {
  const first = new AuthlogReader();
  const [head, tail] = lines(
    'sudo: ann : PWD=/ ; USER=root ; COMMAND=/bin/sh -c',
    'sudo: ann : (command continued) rest',
  ) as [string, string];
  assert.deepEqual(
    [...first.read(head, UTC, LATEST, LATER), ...first.finish('2026-11-23T03:00:00.500Z')],
    [],
  );
  const second = new AuthlogReader(JSON.parse(JSON.stringify(first.state())));
  const [event] = [...second.read(tail, UTC, LATEST, LATER), ...second.finish(LATER)];
  assert.equal(event?.data?.command, '/bin/sh -c rest');
});

test('message shapes of many sshd versions', (t: TestContext) => {
  const path = sharedFixture(t, 'authlog/crowdsec-sshd.log');
  if (path === undefined) return;
  const events = readAll(linesOf(path));
  assert.deepEqual(tally(events), { failed: 9 });
  assert.deepEqual([...new Set(events.map(({ data }) => data?.from))].length, 7);
});
