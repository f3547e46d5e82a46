import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type TestContext, test } from 'node:test';
import packageHistory from '../../../agents/package-history.ts';
import { collectEntries, lastCursor } from '../../helpers/sources.ts';
import { fixtures, layOut, temporary, tree } from '../../helpers/tree.ts';

const DNF4 = 'var/lib/dnf/history.sqlite';
const DNF5 = 'usr/lib/sysimage/libdnf5/transaction_history.sqlite';
const YUM = 'var/lib/yum/history/history-2014-07-01.sqlite';
const NOW = new Date('2026-11-24T12:00:00Z');

async function read(root: string, cursor?: unknown, now = NOW) {
  const { got, absent } = await collectEntries(packageHistory, { root, now, cursors: { dnf: cursor } });
  return {
    events: (got.dnf ?? []).flatMap(({ event }) => event ?? []),
    cursor: lastCursor(got.dnf),
    absent: absent.dnf,
  };
}

/** A machine with a database made by these statements. */
function database(t: TestContext, path: string, statements: string): string {
  const root = tree(t, { 'etc/passwd': 'root:x:0:0::/:/bin/sh\nalice:x:1000:1000::/:/bin/sh\n' });
  mkdirSync(dirname(join(root, path)), { recursive: true });
  const db = new DatabaseSync(join(root, path));
  db.exec(statements);
  db.close();
  return root;
}

const shown = (events: Awaited<ReturnType<typeof read>>['events']) =>
  events.map(({ action, item, before, after }) => [action, item, before?.version, after?.version]);

const DNF5_SCHEMA = `
  CREATE TABLE trans_state (id INTEGER, name TEXT); INSERT INTO trans_state VALUES (1, 'Started'), (2, 'Ok'), (3, 'Error');
  CREATE TABLE trans (id INTEGER PRIMARY KEY, dt_begin INTEGER, dt_end INTEGER, user_id INTEGER, description TEXT, comment TEXT, state_id INTEGER);
  CREATE TABLE repo (id INTEGER, repoid TEXT); INSERT INTO repo VALUES (1, 'updates'), (2, '@System');
  CREATE TABLE pkg_names (id INTEGER, name TEXT); INSERT INTO pkg_names VALUES (1, 'curl'), (2, 'wget2-wget'), (3, 'wget'), (4, 'libcurl');
  CREATE TABLE archs (id INTEGER, name TEXT); INSERT INTO archs VALUES (1, 'x86_64');
  CREATE TABLE console_output (id INTEGER, trans_id INTEGER, file_descriptor INTEGER, line TEXT);
  CREATE TABLE trans_item_action (id INTEGER, name TEXT);
  INSERT INTO trans_item_action VALUES (1, 'Install'), (2, 'Upgrade'), (5, 'Remove'), (6, 'Replaced'), (7, 'Reason Change');
  CREATE TABLE trans_item_reason (id INTEGER, name TEXT); INSERT INTO trans_item_reason VALUES (1, 'Dependency'), (2, 'User');
  CREATE TABLE trans_item_state (id INTEGER, name TEXT); INSERT INTO trans_item_state VALUES (1, 'Started'), (2, 'Ok'), (3, 'Error');
  CREATE TABLE trans_item (id INTEGER, trans_id INTEGER, item_id INTEGER, repo_id INTEGER, action_id INTEGER, reason_id INTEGER, state_id INTEGER);
  CREATE TABLE item_replaced_by (trans_item_id INTEGER, by_trans_item_id INTEGER);
  CREATE TABLE rpm (item_id INTEGER, name_id INTEGER, epoch INTEGER, version TEXT, release TEXT, arch_id INTEGER);
  INSERT INTO rpm VALUES (1, 1, 0, '8.0', '1', 1), (2, 1, 0, '8.1', '1', 1), (3, 2, 1, '2.0', '1', 1), (4, 3, 0, '1.2', '1', 1), (5, 4, 0, '8.1', '1', 1);`;

test('dnf 4: every transaction of a real database, upgrades with their version before, and the write-ahead log left alone', async (t) => {
  const root = tree(t, { [DNF4]: { from: 'history/lab-alpha.dnf4.sqlite' } });
  const { events } = await read(root);
  assert.deepEqual(shown(events), [
    ['installed', 'rpm/alpha-base/noarch', undefined, '1.0-1.el9'],
    ['installed', 'rpm/alpha-kernel/x86_64', undefined, '5.14.0-1.el9'],
    ['installed', 'rpm/alpha-new/noarch', undefined, '1.0-1'],
    ['installed', 'rpm/alpha-tilde/x86_64', undefined, '2.0~rc1-1'],
    ['upgraded', 'rpm/alpha-base/noarch', '1.0-1.el9', '1.0-2.el9'],
    ['installed', 'rpm/alpha-latin1/noarch', undefined, '1.0-1'],
    ['installed', 'rpm/alpha-multi/x86_64', undefined, '1.0-1'],
    ['installed', 'rpm/alpha-utf8/noarch', undefined, '1.0-1'],
    ['installed', 'rpm/alpha-failpost/noarch', undefined, '1.0-1'],
    ['installed', 'rpm/alpha-sh/noarch', undefined, '1.0-1'],
    ['failed', 'rpm/alpha-failpre/noarch', undefined, '1.0-1'],
    ['reinstalled', 'rpm/alpha-utf8/noarch', '1.0-1', '1.0-1'],
    ['downgraded', 'rpm/alpha-base/noarch', '1.0-2.el9', '1.0-1.el9'],
    ['removed', 'rpm/alpha-latin1/noarch', '1.0-1', undefined],
    ['installed', 'rpm/alpha-latin1/noarch', undefined, '1.0-1'],
  ]);
  assert.match(
    events[8]!.data!.error!,
    /%post\(alpha-failpost-1\.0-1\.noarch\) scriptlet failed, exit status 127/,
  );
  assert.deepEqual(
    [events[9]!.data!.auto, events[9]!.data!.repository, events[9]!.data!.transaction],
    [true, 'local', 'dnf4:4'],
  );
  assert.match(events[0]!.by!.command!, /^-y --installroot=.* alpha-tilde-2\.0~rc1$/);
  assert.equal(events[0]!.by!.uid, undefined);
  assert.equal(events[0]!.time, '2026-11-23T03:01:20.000Z');
});

test('dnf 4: what stands only in the write-ahead log is read', async (t) => {
  const root = tree(t, { [DNF4]: { from: 'history/lab-alpha.dnf4.sqlite' } });
  const { cursor } = await read(root);
  const writer = new DatabaseSync(join(root, DNF4));
  t.after(() => writer.close());
  writer.exec(`INSERT INTO trans (dt_begin, dt_end, releasever, user_id, cmdline, state) VALUES (1795500000, 1795500001, '9', 4294967295, 'remove alpha-sh', 1);
    INSERT INTO trans_item (trans_id, item_id, repo_id, action, reason, state) VALUES (10, 10, 2, 8, 2, 1)`);
  const { events } = await read(root, cursor);
  assert.deepEqual(shown(events), [['removed', 'rpm/alpha-sh/noarch', '1.0-1', undefined]]);
  assert.deepEqual(events[0]!.by, { command: 'remove alpha-sh' });
});

test('dnf 5: an upgrade, an obsoleted package and who did it, by name', async (t) => {
  const root = database(
    t,
    DNF5,
    `${DNF5_SCHEMA}
    INSERT INTO trans VALUES (1, 1795400000, 1795400009, 1000, 'dnf5 upgrade', 'monthly', 2);
    INSERT INTO trans_item VALUES (1, 1, 2, 1, 2, 2, 2), (2, 1, 1, 2, 6, 2, 2), (3, 1, 3, 1, 1, 2, 2), (4, 1, 4, 2, 6, 2, 2), (5, 1, 5, 1, 1, 1, 2);
    INSERT INTO item_replaced_by VALUES (2, 1), (4, 3)`,
  );
  const { events } = await read(root);
  assert.deepEqual(shown(events), [
    ['upgraded', 'rpm/curl/x86_64', '8.0-1', '8.1-1'],
    ['installed', 'rpm/wget2-wget/x86_64', undefined, '1:2.0-1'],
    ['removed', 'rpm/wget/x86_64', '1.2-1', undefined],
    ['installed', 'rpm/libcurl/x86_64', undefined, '8.1-1'],
  ]);
  assert.deepEqual(events[0]!.by, { user: 'alice', uid: 1000, command: 'dnf5 upgrade' });
  assert.deepEqual(events[2]!.data, {
    transaction: 'dnf5:1',
    end: '2026-11-23T02:13:29.000Z',
    comment: 'monthly',
    replaced_by: 'wget2-wget',
  });
  assert.equal(events[3]!.data!.auto, true);
});

test('dnf 5: a transaction under way is left for the next run with all behind it; a day later it failed', async (t) => {
  const root = database(
    t,
    DNF5,
    `${DNF5_SCHEMA}
    INSERT INTO trans VALUES (1, 1795400000, 1795400009, -1, 'a', NULL, 2), (2, 1795500000, NULL, -1, 'b', NULL, 1), (3, 1795500001, 1795500002, -1, 'c', NULL, 2);
    INSERT INTO trans_item VALUES (1, 1, 1, 1, 1, 2, 2), (2, 2, 4, 1, 1, 2, 1), (3, 3, 5, 1, 1, 2, 2)`,
  );
  const first = await read(root, undefined, new Date(1795500100_000));
  assert.deepEqual(shown(first.events), [['installed', 'rpm/curl/x86_64', undefined, '8.0-1']]);
  const second = await read(root, first.cursor, new Date(1795500100_000 + 90_000_000));
  assert.deepEqual(shown(second.events), [
    ['failed', 'rpm/wget/x86_64', undefined, '1.2-1'],
    ['installed', 'rpm/libcurl/x86_64', undefined, '8.1-1'],
  ]);
  assert.equal(second.events[0]!.data!.unfinished, true);
});

test('yum: updates with their version before, dependencies and failures', async (t) => {
  const root = database(
    t,
    YUM,
    `CREATE TABLE trans_beg (tid INTEGER PRIMARY KEY, timestamp INTEGER, rpmdb_version TEXT, loginuid INTEGER);
    CREATE TABLE trans_end (tid INTEGER PRIMARY KEY, timestamp INTEGER, rpmdb_version TEXT, return_code INTEGER);
    CREATE TABLE trans_cmdline (tid INTEGER, cmdline TEXT);
    CREATE TABLE trans_data_pkgs (tid INTEGER, pkgtupid INTEGER, done BOOL, state TEXT);
    CREATE TABLE pkgtups (pkgtupid INTEGER PRIMARY KEY, name TEXT, arch TEXT, epoch TEXT, version TEXT, release TEXT);
    INSERT INTO pkgtups VALUES (1, 'bash', 'x86_64', '0', '4.1', '1'), (2, 'bash', 'x86_64', '0', '4.2', '1'), (3, 'vim', 'x86_64', '2', '7', '1');
    INSERT INTO trans_beg VALUES (1, 1404200000, 'x', 1000), (2, 1404300000, 'x', -1);
    INSERT INTO trans_end VALUES (1, 1404200005, 'y', 0), (2, 1404300005, 'y', 1);
    INSERT INTO trans_cmdline VALUES (1, 'update bash');
    INSERT INTO trans_data_pkgs VALUES (1, 2, 'TRUE', 'Update'), (1, 1, 'TRUE', 'Updated'), (2, 3, 'FALSE', 'Dep-Install')`,
  );
  const { events } = await read(root);
  assert.deepEqual(shown(events), [
    ['upgraded', 'rpm/bash/x86_64', '4.1-1', '4.2-1'],
    ['failed', 'rpm/vim/x86_64', undefined, '2:7-1'],
  ]);
  assert.deepEqual(events[0]!.by, { user: 'alice', uid: 1000, command: 'update bash' });
  assert.equal(events[1]!.data!.error, 'the transaction failed');
});

test('nothing is told twice, and a database that was replaced, or lost its last transaction, is a loss', async (t) => {
  const root = tree(t, { [DNF4]: { from: 'history/lab-alpha.dnf4.sqlite' } });
  const first = await read(root);
  const second = await read(root, first.cursor);
  assert.deepEqual(second.events, []);
  const writer = new DatabaseSync(join(root, DNF4), { enableForeignKeyConstraints: false });
  writer.exec('DELETE FROM trans WHERE id = 9');
  writer.close();
  const third = await read(root, second.cursor);
  assert.deepEqual(shown(third.events), [['history-lost', 'history/dnf', undefined, undefined]]);
  assert.match(
    third.events[0]!.data!.lost!,
    /history\.sqlite was replaced or cut: transaction 9 is not the one that was read/,
  );
  const fourth = await read(root, third.cursor);
  assert.deepEqual(fourth.events, []);
  rmSync(join(root, DNF4));
  const empty = new DatabaseSync(join(root, DNF4));
  empty.exec(DNF5_SCHEMA);
  const fifth = await read(root, fourth.cursor);
  assert.deepEqual(shown(fifth.events), [['history-lost', 'history/dnf', undefined, undefined]]);
  empty.exec(
    `INSERT INTO trans VALUES (1, 1795500000, 1795500009, 0, 'x', NULL, 2); INSERT INTO trans_item VALUES (1, 1, 1, 1, 1, 2, 2)`,
  );
  empty.close();
  assert.deepEqual(shown((await read(root, fifth.cursor)).events), [
    ['installed', 'rpm/curl/x86_64', undefined, '8.0-1'],
  ]);
});

test('a database that vanished is a loss told once', async (t) => {
  const root = tree(t, { [DNF4]: { from: 'history/lab-alpha.dnf4.sqlite' } });
  const { cursor } = await read(root);
  rmSync(join(root, DNF4));
  const gone = await read(root, cursor);
  assert.match(gone.events[0]!.data!.lost!, /^\/var\/lib\/dnf\/history\.sqlite is gone$/);
  assert.deepEqual((await read(root, gone.cursor)).events, []);
  layOut(root, { [DNF4]: { from: 'history/lab-alpha.dnf4.sqlite' } });
  assert.deepEqual((await read(root, gone.cursor)).events, []);
});

test('a file that is no database, or one of another kind, fails with its path', async (t) => {
  const root = temporary(t);
  layOut(root, { [DNF4]: 'not a database, but long enough to be looked at as one'.repeat(20) });
  await assert.rejects(read(root), /\/var\/lib\/dnf\/history\.sqlite: file is not a database/);
  const other = database(t, DNF4, 'CREATE TABLE x (y)');
  await assert.rejects(read(other), /it has neither the tables of dnf/);
});

test('reading leaves nothing beside the database', async (t) => {
  const root = temporary(t);
  mkdirSync(join(root, 'var/lib/dnf'), { recursive: true });
  copyFileSync(join(fixtures, 'history/lab-alpha.dnf4.sqlite'), join(root, DNF4));
  await read(root);
  rmSync(join(root, DNF4));
  assert.match((await read(root)).absent!, /no \/var\/lib\/dnf\/history\.sqlite/);
});
