import assert from 'node:assert/strict';
import { appendFileSync, chmodSync, readFileSync, renameSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import logins from '../../agents/logins.ts';
import { System } from '../../src/host/system.ts';
import { wtmpEntries } from '../../src/source/logins/loginentries.ts';
import type { LoginEvent } from '../../src/source/logins/sessions.ts';
import { collectEntries, lastCursor } from '../helpers/sources.ts';
import { fixtures, layOut, type TreeFile, temporary, tree } from '../helpers/tree.ts';
import { agentConformance } from '../suites/agent.ts';

agentConformance(logins, {
  tree: (t) =>
    tree(t, {
      'var/log/wtmp': { from: 'utmp/lab12.wtmp' },
      'var/log/btmp': { from: 'utmp/lab12.btmp' },
      'var/log/auth.log': { from: 'authlog/lab12.auth.log' },
      'var/lib/wtmpdb/wtmp.db': { from: 'wtmpdb/lab13-phase1.wtmp.db' },
    }),
});

const RECORD = 384;
const lab12 = readFileSync(join(fixtures, 'utmp/lab12.wtmp'));
const NOW = new Date('2026-11-24T04:00:00.000Z');

interface Run {
  readonly events: LoginEvent[];
  readonly cursor: unknown;
}

async function run(root: string, source: string, cursor?: unknown): Promise<Run> {
  const { got, absent } = await collectEntries(logins, { root, now: NOW, cursors: { [source]: cursor } });
  const entries = got[source] ?? assert.fail(absent[source]);
  return { events: entries.flatMap(({ event }) => event ?? []), cursor: lastCursor(entries) ?? cursor };
}

interface Utmp {
  readonly type: number;
  readonly second: number;
  readonly line?: string;
  readonly user?: string;
  readonly host?: string;
  readonly pid?: number;
}

/** A record in the 384-byte layout, `second` after 2026-11-23T00:00:00Z. */
function utmp({ type, second, line = '', user = '', host = '', pid = 0 }: Utmp): Buffer {
  const bytes = Buffer.alloc(RECORD);
  bytes.writeInt16LE(type, 0);
  bytes.writeInt32LE(pid, 4);
  bytes.write(line, 8);
  bytes.write(user, 44);
  bytes.write(host, 76);
  bytes.writeInt32LE(1_795_392_000 + second, 340);
  return bytes;
}

const login = (second: number, line: string, user: string, pid: number): Buffer =>
  utmp({ type: 7, second, line, user, host: '10.0.0.1', pid });
const logout = (second: number, line: string, pid: number): Buffer => utmp({ type: 8, second, line, pid });
const boot = (second: number): Buffer => utmp({ type: 2, second, line: '~', user: 'reboot', host: '6.1.0' });

const brief = (events: readonly LoginEvent[]): unknown[] =>
  events.map(({ time, action, data }) => [time.slice(14, 19), action, data?.user ?? '', data?.reason ?? '']);

function wtmp(t: TestContext, ...records: Buffer[]): string {
  return tree(t, { 'var/log/wtmp': Buffer.concat(records) });
}

test('a real wtmp gives what last -F shows: alice four times, bob once, one boot', async (t) => {
  const { events } = await run(wtmp(t, lab12), 'wtmp');
  const golden = join(fixtures, '../golden/logins-lab12.wtmp.jsonl');
  assert.deepEqual(
    events,
    readFileSync(golden, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line)),
  );
  const sessions = events.filter(({ action }) => action === 'login').map(({ data }) => data?.user);
  assert.deepEqual(sessions, ['alice', 'alice', 'bob', 'alice', 'alice']);
  const ended = events.filter(({ action }) => action === 'logout').map(({ data }) => data?.duration_s);
  assert.deepEqual(ended, [1.006, 1.01, 1.005, 0.026]);
});

test('wtmp read in two runs, cut anywhere, gives the events of one run', async (t) => {
  const whole = (await run(wtmp(t, lab12), 'wtmp')).events;
  const cuts = [...Array(11).keys()].flatMap((n) => [
    n * RECORD,
    n * RECORD + 1,
    (n + 1) * RECORD - 1,
    n * RECORD + 97,
  ]);
  const root = wtmp(t);
  const path = join(root, 'var/log/wtmp');
  for (const cut of cuts) {
    writeFileSync(path, lab12.subarray(0, cut));
    const first = await run(root, 'wtmp');
    appendFileSync(path, lab12.subarray(cut));
    const second = await run(root, 'wtmp', first.cursor);
    assert.deepEqual([...first.events, ...second.events], whole, `cut at byte ${cut}`);
    assert.deepEqual((await run(root, 'wtmp', second.cursor)).events, []);
  }
});

for (const [kind, fold] of [
  ['', (bytes: Buffer) => bytes],
  ['.gz', gzipSync],
] as const) {
  test(`a rotation between two runs (wtmp.1${kind}) loses and repeats nothing`, async (t) => {
    const whole = (await run(wtmp(t, lab12), 'wtmp')).events;
    const root = wtmp(t, lab12.subarray(0, 5 * RECORD));
    const path = join(root, 'var/log/wtmp');
    const first = await run(root, 'wtmp');
    renameSync(path, `${path}.1`);
    writeFileSync(`${path}.1${kind}`, fold(lab12.subarray(0, 8 * RECORD)));
    if (kind !== '') truncateSync(`${path}.1`);
    if (kind !== '') renameSync(`${path}.1`, path);
    writeFileSync(path, lab12.subarray(8 * RECORD));
    const second = await run(root, 'wtmp', first.cursor);
    assert.deepEqual([...first.events, ...second.events], whole);
  });
}

test('a truncated wtmp is told as lost history, and what is new in it is read', async (t) => {
  const root = wtmp(t, lab12);
  const first = await run(root, 'wtmp');
  writeFileSync(join(root, 'var/log/wtmp'), login(5, 'pts/3', 'ann', 9));
  const second = await run(root, 'wtmp', first.cursor);
  assert.deepEqual(
    second.events.map(({ action }) => action),
    ['history-lost', 'login'],
  );
  assert.match(second.events[0]?.data?.detail ?? '', /wtmp was truncated or rewritten/);
  assert.deepEqual((await run(root, 'wtmp', second.cursor)).events, []);
});

test('a shutdown, a crash and a boot end the sessions before them as last(1) has it', async (t) => {
  const root = wtmp(
    t,
    boot(0),
    login(10, 'tty1', 'ann', 1),
    utmp({ type: 1, second: 20, line: '~', user: 'runlevel', pid: 48 }),
    utmp({ type: 1, second: 21, line: '~', user: 'shutdown' }),
    boot(30),
    login(40, 'tty1', 'ben', 2),
    boot(50),
  );
  const { events } = await run(root, 'wtmp');
  assert.deepEqual(brief(events), [
    ['00:00', 'boot', '', ''],
    ['00:10', 'login', 'ann', ''],
    ['00:20', 'logout', 'ann', 'shutdown'],
    ['00:20', 'shutdown', '', 'shutdown'],
    ['00:30', 'boot', '', ''],
    ['00:40', 'login', 'ben', ''],
    ['00:50', 'logout', 'ben', 'crash'],
    ['00:50', 'boot', '', ''],
  ]);
  assert.equal(events[3]?.item, events[0]?.item, 'a shutdown has the item of its boot');
  assert.equal(events[3]?.data?.duration_s, 20);
  assert.match(events[7]?.data?.detail ?? '', /no shutdown was recorded/);
});

test('a terminal that is used again: the late logout of the session before does not end the new one', async (t) => {
  const root = wtmp(
    t,
    login(1, 'pts/0', 'ann', 100),
    login(2, 'pts/0', 'ben', 200),
    logout(3, 'pts/0', 100),
    logout(9, 'pts/0', 200),
    logout(10, 'pts/0', 200),
  );
  assert.deepEqual(brief((await run(root, 'wtmp')).events), [
    ['00:01', 'login', 'ann', ''],
    ['00:02', 'logout', 'ann', 'replaced'],
    ['00:02', 'login', 'ben', ''],
    ['00:09', 'logout', 'ben', 'logout'],
  ]);
});

test('a clock change is told with the clock before and after, also when a run ends between its two records', async (t) => {
  const root = wtmp(t, utmp({ type: 4, second: 600, line: '|', user: 'date' }));
  const first = await run(root, 'wtmp');
  assert.deepEqual(first.events, []);
  appendFileSync(join(root, 'var/log/wtmp'), utmp({ type: 3, second: 300, line: '{', user: 'date' }));
  const [event] = (await run(root, 'wtmp', first.cursor)).events;
  assert.equal(event?.action, 'clock-changed');
  assert.deepEqual(event?.data, {
    start: '2026-11-23T00:10:00.000Z',
    end: '2026-11-23T00:05:00.000Z',
    duration_s: -300,
  });
});

test('hostile records: damage is counted, text is kept apart from keys, the rest is read', async (t) => {
  const root = tree(t, { 'var/log/wtmp': { from: 'adversarial/synthetic-evil.wtmp' } });
  const { events } = await run(root, 'wtmp');
  assert.equal(events.filter(({ action }) => action === 'login').length, 8);
  const damaged = events.filter(({ action }) => action === 'record-damaged').map(({ data }) => data?.count);
  assert.deepEqual(damaged, [2, 1]);
  assert.ok(events.every(({ item }) => item !== undefined && !/\p{Cc}/u.test(item)));
  assert.equal(events.find(({ data }) => data?.pid === 102)?.data?.user, '\\xff\\xfe\\xfd');
});

test('a cut record at the end of a rotated wtmp is damage, at the end of the present one it is not yet', async (t) => {
  const torn = Buffer.concat([login(1, 'pts/0', 'ann', 1), Buffer.alloc(50, 7)]);
  const live = await run(wtmp(t, torn), 'wtmp');
  assert.deepEqual(
    live.events.map(({ action }) => action),
    ['login'],
  );
  const root = tree(t, { 'var/log/wtmp.1': torn, 'var/log/wtmp': login(2, 'pts/1', 'ben', 2) });
  const { events } = await run(root, 'wtmp');
  assert.deepEqual(
    events.map(({ action }) => action),
    ['login', 'record-damaged', 'login'],
  );
});

test('every record of btmp is a failure; records equal in every field are one event with their number', async (t) => {
  const failure = utmp({ type: 6, second: 1, line: 'ssh:notty', user: 'eve', host: '10.0.0.9', pid: 5 });
  const other = utmp({ type: 7, second: 2, line: 'tty1', user: 'bob', pid: 6 });
  const root = tree(t, { 'var/log/btmp': Buffer.concat([failure, failure, other]) });
  const { events } = await run(root, 'btmp');
  assert.deepEqual(
    events.map(({ action, data }) => [action, data?.user, data?.from, data?.service, data?.count]),
    [
      ['failed', 'eve', '10.0.0.9', 'sshd', 2],
      ['failed', 'bob', undefined, undefined, undefined],
    ],
  );
  const real = tree(t, { 'var/log/btmp': { from: 'utmp/lab12.btmp' } });
  assert.equal((await run(real, 'btmp')).events.length, 17);
});

test('a cursor that is not understood is told, and reading begins anew', async (t) => {
  const { events } = await run(wtmp(t, boot(0)), 'wtmp', { at: 'nowhere' });
  assert.deepEqual(
    events.map(({ action }) => action),
    ['history-lost', 'boot'],
  );
});

test('what wtmp costs grows with its size, not faster', async (t) => {
  /** Processor time in ms for so many copies of a file of 11 records. */
  const costOf = async (copies: number): Promise<number> => {
    const system = new System(wtmp(t, ...Array.from({ length: copies }, () => lab12)));
    const before = process.cpuUsage();
    let events = 0;
    for await (const { event } of wtmpEntries(
      { system, now: NOW, signal: t.signal },
      '/var/log/wtmp',
      undefined,
    ))
      if (event) events += 1;
    const { user, system: kernel } = process.cpuUsage(before);
    assert.ok(events > copies * 10, `${events} events`);
    return (user + kernel) / 1000;
  };
  await costOf(1000);
  const [part, whole] = [await costOf(1000), await costOf(8000)];
  assert.ok(whole < 24 * part, `8 times the records cost ${(whole / part).toFixed(1)} times as much`);
});

test('auth.log across runs and rotation: a login in one, its logout in the next', async (t) => {
  const bytes = readFileSync(join(fixtures, 'authlog/lab12.auth.log'));
  const whole = (await run(tree(t, { 'var/log/auth.log': bytes }), 'authlog')).events;
  const half = bytes.indexOf('\n', 20_000) + 1;
  const middle = bytes.indexOf('sshd[643]: pam_unix(sshd:session): session opened');
  const root = tree(t, { 'var/log/auth.log': bytes.subarray(0, middle) });
  const path = join(root, 'var/log/auth.log');
  const first = await run(root, 'authlog');
  appendFileSync(path, bytes.subarray(middle, half));
  renameSync(path, `${path}.1`);
  writeFileSync(path, bytes.subarray(half));
  const second = await run(root, 'authlog', first.cursor);
  assert.deepEqual([...first.events, ...second.events], whole);
});

/** A machine whose journal is on disk, and a journalctl that prints `entries.json` from the entry asked for on, as the real one does. */
function withJournal(
  t: TestContext,
  files: Record<string, TreeFile> = {},
): { root: string; asked: () => string } {
  const root = tree(t, { 'var/log/journal/0123/system.journal': '', ...files });
  const bin = temporary(t);
  layOut(bin, {
    journalctl: `#!/bin/sh
echo "$@" > ${bin}/asked
for word; do case "$word" in --cursor=*) from=\${word#--cursor=};; esac; done
if [ -z "$from" ]; then cat ${bin}/entries.json; else grep -qF "$from" ${bin}/entries.json && sed -n "/$from/,\\$p" ${bin}/entries.json || cat ${bin}/entries.json; fi
`,
    'entries.json': readFileSync(join(fixtures, 'journal/lab12.logins.json')),
  });
  chmodSync(join(bin, 'journalctl'), 0o755);
  const before = process.env.PATH;
  process.env.PATH = `${bin}:${before}`;
  t.after(() => {
    process.env.PATH = before;
  });
  return { root, asked: () => readFileSync(join(bin, 'asked'), 'utf8') };
}

test('the journal is asked only for what is read, and from where the last run ended', async (t) => {
  const { root, asked } = withJournal(t);
  const first = await run(root, 'journal');
  assert.equal(first.events.filter(({ action }) => action === 'login').length, 6);
  assert.match(
    asked(),
    /--output=json --all .*--directory=\S+\/var\/log\/journal .*_COMM=sshd .*\+ SYSLOG_IDENTIFIER=sshd/,
  );
  const second = await run(root, 'journal', first.cursor);
  assert.deepEqual(second.events, []);
  assert.match(asked(), /--cursor=s=\S+;i=/);
  assert.deepEqual(second.cursor, first.cursor);
});

test('an entry that vacuuming took away is told as lost history', async (t) => {
  const { root } = withJournal(t);
  const { cursor } = await run(root, 'journal');
  const stale = { ...(cursor as object), after: 's=0;i=1', seen: 's=0;i=1' };
  const { events } = await run(root, 'journal', stale);
  assert.equal(events[0]?.action, 'history-lost');
  assert.ok(events.some(({ action }) => action === 'login'));
});

test('a machine with a journal on disk and an auth.log is not read twice', async (t) => {
  const { root } = withJournal(t, { 'var/log/auth.log': { from: 'authlog/lab12.auth.log' } });
  const { got, absent } = await collectEntries(logins, { root, now: NOW });
  assert.ok(got.journal);
  assert.equal(absent.authlog, 'the journal is on disk and has the same as /var/log/auth.log');
});

test('a machine without any of the files says of each source that it is absent', async (t) => {
  const { absent } = await collectEntries(logins, { root: temporary(t), now: NOW });
  assert.deepEqual(Object.keys(absent), ['wtmp', 'btmp', 'wtmpdb', 'journal', 'authlog']);
});
