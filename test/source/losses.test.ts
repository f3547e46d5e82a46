/** What was there to be read and is gone: one event that says what and since when, once; and none at an ordinary rotation. */
import assert from 'node:assert/strict';
import {
  appendFileSync,
  chmodSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type TestContext, test } from 'node:test';
import logins from '../../agents/logins.ts';
import packageHistory from '../../agents/package-history.ts';
import type { LogAgent, LogEvent } from '../../src/plugin/agent.ts';
import { collectEntries, lastCursor } from '../helpers/sources.ts';
import { fixtures, layOut, type TreeFile, temporary, tree } from '../helpers/tree.ts';

/** One source of an agent, read run by run over one tree. */
class Reading {
  readonly root: string;
  readonly #agent: LogAgent;
  readonly #source: string;
  #cursor: unknown;

  // biome-ignore lint/suspicious/noExplicitAny: agents of every field type
  constructor(root: string, agent: LogAgent<any, any>, source: string) {
    this.root = root;
    this.#agent = agent;
    this.#source = source;
  }

  async next(): Promise<LogEvent[]> {
    const { got } = await collectEntries(this.#agent, {
      root: this.root,
      cursors: { [this.#source]: this.#cursor },
    });
    const entries = got[this.#source] ?? [];
    this.#cursor = lastCursor(entries) ?? this.#cursor;
    return entries.flatMap(({ event }) => event ?? []);
  }

  /** The next run must tell one loss, and what `news` says; the runs after it nothing more. */
  async loses(news: readonly string[] = []): Promise<void> {
    const events = await this.next();
    const lost = events.filter(({ action }) => action === 'history-lost');
    assert.equal(lost.length, 1, JSON.stringify(lost));
    const { data = {}, item, time } = lost[0]!;
    assert.equal(item, `history/${this.#source}`);
    const since = data.start ?? data.since;
    assert.match(String(since), /^20\d\d-/, `it does not say since when: ${JSON.stringify(data)}`);
    assert.ok(String(since) < time);
    assert.ok(String(data.detail ?? data.lost).length > 10);
    assert.deepEqual(
      events.filter((event) => event !== lost[0]).map(({ action }) => action),
      news,
      'told before, or not told',
    );
    for (let n = 0; n < 2; n++) assert.deepEqual(await this.next(), [], 'told again');
  }
}

/** Makes a file's last change later than any reading of it so far. */
function touch(path: string): void {
  const later = statSync(path).mtimeMs / 1000 + 5;
  utimesSync(path, later, later);
}

interface Followed {
  readonly agent: LogAgent;
  readonly path: string;
  readonly file: TreeFile;
  /** Where a record or line ends, for cutting: the length of a record, or the text of a line end. */
  readonly record?: number;
}

const followed: Record<string, Followed> = {
  wtmp: {
    agent: logins as unknown as LogAgent,
    path: 'var/log/wtmp',
    file: { from: 'utmp/lab12.wtmp' },
    record: 384,
  },
  btmp: {
    agent: logins as unknown as LogAgent,
    path: 'var/log/btmp',
    file: { from: 'utmp/lab12.btmp' },
    record: 384,
  },
  authlog: {
    agent: logins as unknown as LogAgent,
    path: 'var/log/auth.log',
    file: { from: 'authlog/lab12.auth.log' },
  },
  apt: {
    agent: packageHistory as unknown as LogAgent,
    path: 'var/log/apt/history.log',
    file: { from: 'history/lab12.apt-history' },
  },
  dpkg: {
    agent: packageHistory as unknown as LogAgent,
    path: 'var/log/dpkg.log',
    file: { from: 'history/lab12.dpkg-log' },
  },
  zypp: {
    agent: packageHistory as unknown as LogAgent,
    path: 'var/log/zypp/history',
    file: { from: 'history/lab-alpha.zypp-history' },
  },
  apk: {
    agent: packageHistory as unknown as LogAgent,
    path: 'var/log/apk.log',
    file: { from: 'history/synthetic.apk-log' },
  },
  pacman: {
    agent: packageHistory as unknown as LogAgent,
    path: 'var/log/pacman.log',
    file: { from: 'history/lab-alpha.pacman-log' },
  },
};

/** Cuts whole records or lines off the end, about a third of the file. */
function cutTail(path: string, record: number | undefined): void {
  const bytes = readFileSync(path);
  const most = Math.floor((bytes.length * 2) / 3);
  truncateSync(path, record === undefined ? bytes.lastIndexOf('\n', most) + 1 : most - (most % record));
}

for (const [source, { agent, path, file, record }] of Object.entries(followed)) {
  const reading = (t: TestContext): Reading => new Reading(tree(t, { [path]: file }), agent, source);

  test(`P5: ${source} that is emptied, cut, rewritten or removed is one history-lost, and what had been read is not told again`, async (t) => {
    for (const spoil of [
      (full: string) => truncateSync(full, 0),
      (full: string) => cutTail(full, record),
      (full: string) => {
        // Another file in its place, in which a record in the middle is missing.
        const bytes = readFileSync(full);
        const middle = Math.floor(bytes.length / 2);
        const from = record === undefined ? bytes.indexOf('\n', middle) + 1 : middle - (middle % record);
        const to = record === undefined ? bytes.indexOf('\n', from) + 1 : from + record;
        rmSync(full);
        writeFileSync(full, Buffer.concat([bytes.subarray(0, from), bytes.subarray(to)]));
      },
      (full: string) => rmSync(full),
    ]) {
      const one = reading(t);
      const full = join(one.root, path);
      assert.ok((await one.next()).length > 1);
      assert.deepEqual(await one.next(), []);
      spoil(full);
      await one.loses();
    }
  });

  test(`P5: ${source} that is rotated as usual, by renaming or by copying, is no loss`, async (t) => {
    const one = reading(t);
    const full = join(one.root, path);
    await one.next();
    renameSync(full, `${full}.1`);
    assert.deepEqual(await one.next(), []);
    writeFileSync(full, '');
    touch(full);
    assert.deepEqual(await one.next(), []);
    const two = reading(t);
    const copied = join(two.root, path);
    await two.next();
    writeFileSync(`${copied}.1`, readFileSync(copied));
    truncateSync(copied, 0);
    touch(copied);
    assert.deepEqual(await two.next(), []);
  });

  test(`P5: ${source} in which nothing happens between two rotations loses nothing when its copy goes`, async (t) => {
    const one = reading(t);
    const full = join(one.root, path);
    await one.next();
    for (let n = 0; n < 3; n++) {
      const longAgo = Date.now() / 1000 - (40 - n) * 86_400;
      utimesSync(full, longAgo, longAgo);
      await new Promise((settle) => setTimeout(settle, 20));
      renameSync(full, `${full}.1`);
      writeFileSync(full, '');
      assert.deepEqual(await one.next(), [], `rotation ${n + 1}`);
    }
  });
}

/** One record of wtmp: a login, or a boot where `user` is reboot. */
function wtmpRecord(user: string, ms: number): Buffer {
  const record = Buffer.alloc(384);
  record.writeInt16LE(user === 'reboot' ? 2 : 7, 0);
  record.writeInt32LE(1, 4);
  record.write(user === 'reboot' ? '~' : `pts/${user}`, 8);
  record.write(user, 44);
  record.writeInt32LE(Math.floor(ms / 1000), 340);
  return record;
}

function authLine(user: string, ms: number): Buffer {
  return Buffer.from(
    `${new Date(ms).toISOString()} web1 sshd[7]: Accepted publickey for ${user} from 10.0.0.1 port 9 ssh2\n`,
  );
}

const YEARS = 5 * 365 * 86_400_000;

for (const [source, path, one] of [
  ['wtmp', 'var/log/wtmp', wtmpRecord],
  ['authlog', 'var/log/auth.log', authLine],
] as const) {
  test(`P5: ${source} with an entry of a clock that was years ahead, rewritten by who corrects that, tells what comes after the loss`, async (t) => {
    const now = Date.now();
    const before = Array.from({ length: 20 }, (_, index) => one(`u${index}`, now - 900_000 + index * 1000));
    const reading = new Reading(tree(t, { [path]: '' }), logins, source);
    const full = join(reading.root, path);
    writeFileSync(full, Buffer.concat([...before, one('reboot', now + YEARS)]));
    await reading.next();
    writeFileSync(full, Buffer.concat([...before, one('reboot', now - 800_000)]));
    await reading.loses();
    appendFileSync(full, one('zoe', Date.now() + 2000));
    const news = (await reading.next()).filter(({ action }) => action === 'login');
    assert.deepEqual(
      news.map(({ data }) => data?.user),
      ['zoe'],
    );
  });
}

const DAY = 1_795_392_000_000_000;

function wtmpdb(path: string, rows: readonly (readonly [id: number, minute: number])[]): void {
  rmSync(path, { force: true });
  const db = new DatabaseSync(path);
  db.exec(
    'CREATE TABLE wtmp(ID INTEGER PRIMARY KEY, Type INTEGER, User TEXT NOT NULL, Login INTEGER, Logout INTEGER, TTY TEXT, RemoteHost TEXT, Service TEXT) STRICT',
  );
  const insert = db.prepare("INSERT INTO wtmp VALUES (?, 3, 'ann', ?, ?, 'pts/0', '10.0.0.1', NULL)");
  for (const [id, minute] of rows)
    insert.run(id, DAY + minute * 60_000_000, DAY + minute * 60_000_000 + 1_000_000);
  db.close();
}

function databaseOf(
  t: TestContext,
  rows: readonly (readonly [number, number])[],
): { one: Reading; path: string } {
  const root = temporary(t);
  layOut(root, { 'var/lib/wtmpdb/keep': '' });
  const path = join(root, 'var/lib/wtmpdb/wtmp.db');
  wtmpdb(path, rows);
  return { one: new Reading(root, logins, 'wtmpdb'), path };
}

test('P5: rows of wtmpdb that are gone, a database made anew and one removed are each one history-lost', async (t) => {
  const rows = [
    [1, 1],
    [2, 2],
    [3, 3],
  ] as const;
  for (const [left, news] of [
    [rows.slice(0, 2), []],
    [[[1, 9]], ['login', 'logout']],
    [undefined, []],
  ] as const) {
    const { one, path } = databaseOf(t, rows);
    assert.equal((await one.next()).length, 6);
    if (left === undefined) rmSync(path);
    else wtmpdb(path, left);
    await one.loses(news);
  }
});

test('P5: rows of wtmpdb that were rotated to another file, which later goes, are no loss', async (t) => {
  const { one, path } = databaseOf(t, [
    [1, 1],
    [2, 2],
    [3, 3],
  ]);
  await one.next();
  const rotated = join(path, '../wtmp_20261124.db');
  wtmpdb(rotated, [
    [1, 1],
    [2, 2],
    [3, 3],
  ]);
  wtmpdb(path, []);
  assert.deepEqual(await one.next(), []);
  rmSync(rotated);
  assert.deepEqual(await one.next(), []);
  wtmpdb(path, [[1, 20]]);
  assert.deepEqual(
    (await one.next()).map(({ action }) => action),
    ['login', 'logout'],
  );
});

/** A journal of entries in a file, and a journalctl that knows only what is asked of it here, as the real one answers it. */
function journal(t: TestContext): {
  one: Reading;
  set: (lines: readonly string[]) => void;
  all: readonly string[];
} {
  const root = tree(t, { 'var/log/journal/0123/system.journal': '' });
  const bin = temporary(t);
  const entries = join(bin, 'entries.json');
  layOut(bin, {
    journalctl: `#!/bin/sh
matches=
for word; do case "$word" in --cursor=*) from=\${word#--cursor=};; --lines=1) tail -n 1 ${entries}; exit;; _COMM=*) matches=yes;; esac; done
show() { if [ "$matches" ]; then grep -v _NOISE; else cat; fi; }
if [ -z "$from" ]; then show < ${entries}
elif grep -qF "$from" ${entries}; then sed -n "/$from/,\\$p" ${entries} | show
else cat ${bin}/nearest.json | show; fi
exit 0
`,
    'nearest.json': '',
  });
  chmodSync(join(bin, 'journalctl'), 0o755);
  const before = process.env.PATH;
  process.env.PATH = `${bin}:${before}`;
  t.after(() => {
    process.env.PATH = before;
  });
  const all = readFileSync(join(fixtures, 'journal/lab12.logins.json'), 'utf8').trim().split('\n');
  const set = (lines: readonly string[]): void => writeFileSync(entries, `${lines.join('\n')}\n`);
  return { one: new Reading(root, logins, 'journal'), set, all };
}

const noise = (n: number): string =>
  JSON.stringify({ __CURSOR: `s=abc;i=${n}`, __REALTIME_TIMESTAMP: '1795392000000000', _NOISE: '1' });

test('P5: a journal that lost what it held at the last look is one history-lost, and so is one that is gone', async (t) => {
  for (const spoil of ['vacuumed', 'gone'] as const) {
    const { one, set, all } = journal(t);
    set(all);
    assert.ok((await one.next()).length > 3);
    if (spoil === 'vacuumed') set([noise(7)]);
    else rmSync(join(one.root, 'var/log/journal'), { recursive: true });
    await one.loses();
  }
});

test('P5: a journal whose last login was vacuumed long after it was read is no loss', async (t) => {
  const { one, set, all } = journal(t);
  set(all);
  await one.next();
  set([...all, noise(1), noise(2)]);
  assert.deepEqual(await one.next(), []);
  set([noise(2), noise(3)]);
  assert.deepEqual(await one.next(), []);
  appendFileSync(join(one.root, 'var/log/journal/0123/system.journal'), '');
  assert.deepEqual(await one.next(), []);
});
