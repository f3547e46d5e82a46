import assert from 'node:assert/strict';
import { readdirSync, statSync, utimesSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type TestContext, test } from 'node:test';
import logins from '../../../agents/logins.ts';
import type { LoginEvent } from '../../../src/source/logins/sessions.ts';
import { isRotatedDb, WtmpdbFile } from '../../../src/source/logins/wtmpdb.ts';
import { collectEntries, lastCursor } from '../../helpers/sources.ts';
import { layOut, temporary, tree } from '../../helpers/tree.ts';

const FOLDER = 'var/lib/wtmpdb';
/** 2026-11-23T00:00:00Z in microseconds. */
const DAY = 1_795_392_000_000_000;
const minutes = (count: number): number => DAY + count * 60_000_000;

type Row = [
  id: number,
  type: number,
  user: string,
  login: number | bigint,
  logout: number | null,
  tty?: string,
];

/** A database as wtmpdb 0.73 makes it. */
function database(path: string, rows: readonly Row[]): DatabaseSync {
  const db = new DatabaseSync(path);
  db.exec(
    'CREATE TABLE IF NOT EXISTS wtmp(ID INTEGER PRIMARY KEY, Type INTEGER, User TEXT NOT NULL, Login INTEGER, Logout INTEGER, TTY TEXT, RemoteHost TEXT, Service TEXT) STRICT',
  );
  for (const [id, type, user, login, logout, tty] of rows)
    db.prepare('INSERT INTO wtmp VALUES (?, ?, ?, ?, ?, ?, ?, NULL)').run(
      id,
      type,
      user,
      login,
      logout,
      tty ?? null,
      type === 1 ? '6.1.0-1' : '10.0.0.1',
    );
  return db;
}

function machine(t: TestContext, rows: readonly Row[]): { root: string; file: string; db: DatabaseSync } {
  const root = temporary(t);
  layOut(root, { [`${FOLDER}/keep`]: '' });
  const file = join(root, FOLDER, 'wtmp.db');
  const db = database(file, rows);
  t.after(() => db.isOpen && db.close());
  return { root, file, db };
}

async function read(root: string, cursor?: unknown): Promise<{ events: LoginEvent[]; cursor: unknown }> {
  const { got } = await collectEntries(logins, { root, cursors: { wtmpdb: cursor } });
  const entries = got.wtmpdb ?? [];
  return { events: entries.flatMap(({ event }) => event ?? []), cursor: lastCursor(entries) };
}

const brief = (events: readonly LoginEvent[]): string[] =>
  events.map(({ time, action, data }) =>
    `${time.slice(11, 16)} ${action} ${data?.user ?? data?.reason ?? ''}`.trim(),
  );

test('a real database: boots, logins and logouts in the order of time, microseconds in the key', async (t) => {
  const root = tree(t, { [`${FOLDER}/wtmp.db`]: { from: 'wtmpdb/lab13-phase1.wtmp.db' } });
  const { events } = await read(root);
  assert.deepEqual(
    events.map(({ action, item, data }) => [action, item, data?.tty, data?.service, data?.duration_s]),
    [
      ['boot', 'boot/wtmpdb/1795399511.702074', undefined, undefined, undefined],
      ['login', 'session/wtmpdb/pts/1/1795402494.437389', 'pts/1', undefined, undefined],
      ['logout', 'session/wtmpdb/pts/1/1795402494.437389', 'pts/1', undefined, 1.006],
      ['login', 'session/wtmpdb/pts/1/1795402495.632756', 'pts/1', undefined, undefined],
      ['logout', 'session/wtmpdb/pts/1/1795402495.632756', 'pts/1', undefined, 1.007],
      ['login', 'session/wtmpdb/pts/1/1795402501.302550', 'pts/1', undefined, undefined],
      ['login', 'session/wtmpdb/su-l/1795402503.179275', undefined, 'su-l', undefined],
      ['logout', 'session/wtmpdb/su-l/1795402503.179275', undefined, 'su-l', 0.025],
    ],
  );
});

test('an imported database says of each session what wtmp says', async (t) => {
  const root = tree(t, {
    [`${FOLDER}/wtmp.db`]: { from: 'wtmpdb/import-shared.wtmp.db' },
    'var/log/wtmp': { from: 'utmp/lab12.wtmp' },
  });
  const { got } = await collectEntries(logins, { root });
  const said = (source: string): unknown[] =>
    got[source]!.flatMap(({ event }) =>
      event ? [[event.time, event.action, event.data?.user, event.data?.from, event.data?.duration_s]] : [],
    );
  assert.deepEqual(said('wtmpdb'), said('wtmp'));
});

test('a logout that is filled in later is told then, with who and for how long', async (t) => {
  const { root, db } = machine(t, [
    [1, 1, 'reboot', minutes(0), null, '~'],
    [2, 3, 'ann', minutes(1), null, 'pts/0'],
    [3, 3, 'ben', minutes(2), minutes(3), 'pts/1'],
  ]);
  const first = await read(root);
  assert.deepEqual(brief(first.events), [
    '00:00 boot',
    '00:01 login ann',
    '00:02 login ben',
    '00:03 logout ben',
  ]);
  db.exec(
    `UPDATE wtmp SET Logout = ${minutes(61)} WHERE ID = 2; UPDATE wtmp SET Logout = ${minutes(62)} WHERE ID = 1`,
  );
  const second = await read(root, first.cursor);
  assert.deepEqual(brief(second.events), ['01:01 logout ann', '01:02 shutdown shutdown']);
  assert.equal(second.events[0]?.item, first.events[1]?.item);
  assert.equal(second.events[0]?.data?.duration_s, 3600);
  assert.equal(second.events[1]?.item, first.events[0]?.item);
  assert.deepEqual((await read(root, second.cursor)).events, []);
});

test('ids that begin again after a rotation lose no row and repeat none', async (t) => {
  const { root, db } = machine(t, [
    [1, 3, 'ann', minutes(1), minutes(2)],
    [2, 3, 'ben', minutes(3), null],
    [3, 3, 'cay', minutes(4), minutes(5)],
  ]);
  const first = await read(root);
  const old = database(join(root, FOLDER, 'wtmp_20261124.db'), [
    [1, 3, 'ann', minutes(1), minutes(2)],
    [2, 3, 'ben', minutes(3), minutes(6)],
    [3, 3, 'cay', minutes(4), minutes(5)],
    [4, 3, 'eva', minutes(8), minutes(9)],
  ]);
  old.close();
  db.exec('DELETE FROM wtmp');
  database(join(root, FOLDER, 'wtmp.db'), [[1, 3, 'dan', minutes(10), minutes(11)]]).close();
  const second = await read(root, first.cursor);
  assert.deepEqual(brief(second.events), [
    '00:06 logout ben',
    '00:08 login eva',
    '00:09 logout eva',
    '00:10 login dan',
    '00:11 logout dan',
  ]);
  assert.deepEqual((await read(root, second.cursor)).events, []);
});

test('rows that were read and have other ids now are not told again', async (t) => {
  const { root, db } = machine(t, [
    [7, 3, 'ann', minutes(1), minutes(2)],
    [8, 3, 'ben', minutes(3), minutes(4)],
  ]);
  const { cursor } = await read(root);
  db.exec('DELETE FROM wtmp WHERE ID = 7; UPDATE wtmp SET ID = 1 WHERE ID = 8');
  database(join(root, FOLDER, 'wtmp.db'), [[2, 3, 'cay', minutes(5), null]]).close();
  assert.deepEqual(brief((await read(root, cursor)).events), ['00:05 login cay']);
});

test('a row of a clock that was ahead hides no row behind a rotation, and is not told again', async (t) => {
  const ahead = (Date.now() + 2_000 * 86_400_000) * 1000;
  const { root, db } = machine(t, [
    [1, 1, 'reboot', ahead, null, '~'],
    [2, 3, 'ann', minutes(1), minutes(2), 'pts/0'],
  ]);
  const first = await read(root);
  assert.equal(first.events.length, 3);
  database(join(root, FOLDER, 'wtmp_20261124.db'), [[2, 3, 'ann', minutes(1), minutes(2), 'pts/0']]).close();
  db.exec('DELETE FROM wtmp WHERE ID = 2');
  db.exec(
    `INSERT INTO wtmp VALUES (3, 3, 'ben', ${(Date.now() + 5000) * 1000}, NULL, 'pts/1', '10.0.0.2', NULL)`,
  );
  const second = await read(root, first.cursor);
  assert.deepEqual(
    second.events.map(({ action, data }) => [action, data?.user]),
    [['login', 'ben']],
  );
  assert.deepEqual((await read(root, second.cursor)).events, []);
});

test('rotated databases are read before the present one on the first run', async (t) => {
  const { root } = machine(t, [[1, 3, 'new', minutes(9), null]]);
  database(join(root, FOLDER, 'wtmpdb_20261124.db'), [[1, 3, 'old', minutes(1), null]]).close();
  assert.deepEqual(brief((await read(root)).events), ['00:01 login old', '00:09 login new']);
  assert.ok(isRotatedDb('wtmp_20240101.db') && !isRotatedDb('wtmp_2024.db') && !isRotatedDb('wtmp.db'));
});

test('a boot without a shutdown ends what was open as a crash, one with a shutdown at its time', async (t) => {
  const { root } = machine(t, [
    [1, 1, 'reboot', minutes(0), null],
    [2, 3, 'ann', minutes(1), null],
    [3, 1, 'reboot', minutes(10), minutes(20)],
    [4, 3, 'ben', minutes(11), null],
    [5, 1, 'reboot', minutes(30), null],
  ]);
  const { events } = await read(root);
  assert.deepEqual(brief(events), [
    '00:00 boot',
    '00:01 login ann',
    '00:10 logout ann',
    '00:10 boot',
    '00:11 login ben',
    '00:20 shutdown shutdown',
    '00:20 logout ben',
    '00:30 boot',
  ]);
  assert.deepEqual(
    events.filter(({ action }) => action === 'logout').map(({ data }) => data?.reason),
    ['crash', 'shutdown'],
  );
});

for (const mode of ['DELETE', 'WAL']) {
  test(`reading a running machine's database (journal mode ${mode}) makes and changes no file`, (t) => {
    const { file, db } = machine(t, [[1, 3, 'ann', minutes(1), null]]);
    db.exec(`PRAGMA journal_mode = ${mode}`);
    db.close();
    const folder = dirname(file);
    for (const path of [folder, file]) utimesSync(path, 1, 1);
    const read = new WtmpdbFile(file, true);
    assert.equal(read.rowsAfter(0).length, 1);
    assert.deepEqual(readdirSync(folder), ['keep', 'wtmp.db']);
    read.close();
    assert.deepEqual(readdirSync(folder), ['keep', 'wtmp.db']);
    assert.deepEqual([statSync(folder).mtimeMs, statSync(file).mtimeMs], [1000, 1000]);
  });
}

test('a row with an impossible time is told once and skipped, the others are read', async (t) => {
  const { root } = machine(t, [
    [1, 3, 'ann', minutes(1), null],
    [2, 3, 'bad', 2n ** 62n, null],
    [3, 3, 'ben', minutes(2), null],
    [4, 3, 'bad', -(2n ** 62n), null],
    [5, 3, 'bad', 2n ** 62n, null],
  ]);
  const { events, cursor } = await read(root);
  assert.deepEqual(brief(events.filter(({ action }) => action === 'login')), [
    '00:01 login ann',
    '00:02 login ben',
  ]);
  const damaged = events.filter(({ action }) => action === 'record-damaged').map(({ data }) => data?.detail);
  assert.deepEqual(damaged, [
    'row 2: Login is not what wtmpdb writes',
    'row 4: Login is not what wtmpdb writes',
    'row 5: Login is not what wtmpdb writes',
  ]);
  assert.deepEqual((await read(root, cursor)).events, []);
});

test('a machine without the database, or with an empty one, has no such source', async (t) => {
  const { absent } = await collectEntries(logins, { root: tree(t, { [`${FOLDER}/wtmp.db`]: '' }) });
  assert.equal(absent.wtmpdb, 'no /var/lib/wtmpdb/wtmp.db or /var/log/wtmp.db');
});
