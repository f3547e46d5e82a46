/** The register of expected nodes, and reports that judge, as users run them. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { sql } from 'kysely';
import { openStore } from '../../src/store/store.ts';
import { FakeNode, plainEvent } from '../helpers/batches.ts';
import { Home } from '../helpers/dsac.ts';
import { receipt } from '../store/stores.ts';

const NEW = '00000000-0000-4000-8000-00000000000a';

/** A centre to which one node, web1, has just reported. */
async function centre(t: TestContext): Promise<Home> {
  const home = new Home(t);
  const store = await openStore(undefined, { home: home.path });
  const node = new FakeNode();
  const time = new Date().toISOString();
  const head = node.next('logins', 'log', [plainEvent()], { time });
  await store.load([head, receipt(node, time, 'logins', { head })]);
  await store.close();
  return home;
}

test('P5: a node is added, listed, missed by every report, and retired, from the command line', async (t) => {
  const home = await centre(t);
  assert.equal(await home.run('node', 'add', NEW, '--host', 'new1'), 'added new1\n');
  const table = await home.run('node', 'ls');
  assert.match(table, /^HOST +NODE +STATUS +SINCE +LAST SEEN +KEY +REMARK\n/);
  assert.match(table, /^web1 +\S+ +reporting +contact \d{4}-/m);
  assert.match(table, new RegExp(`^new1 +${NEW} +never reported +added`, 'm'));
  const [row] = JSON.parse(await home.run('node', 'ls', 'new*', '--format', 'json'));
  assert.deepEqual([row.host, row.status], ['new1', 'never reported']);
  const csv = await home.run('node', 'ls', 'new1', '--format', 'csv');
  assert.match(csv, /^host,node,status,agents,how,since,last_seen,key,key_how,retired,reason\r\nnew1,/);
  const report = await home.run('report', 'completeness', '--node', 'new1');
  assert.match(
    report,
    /^incomplete: .* 1 silent: new1 \(never reported\)\n[\s\S]*new1 +silent .* never reported\n/,
  );
  assert.equal(await home.run('node', 'retire', 'new1', '--reason', 'sold to Eve'), 'retired new1\n');
  assert.match(await home.run('node', 'ls', 'new1'), / retired .* retired \d{4}-\d\d-\d\d: sold to Eve\n/);
  const mistake = await home.try('node', 'retire', 'mail1');
  assert.equal(mistake.code, 64);
  assert.match(mistake.stderr, /^dsac: error: 'mail1' is no node of the register\ndsac: hint: dsac node ls/);
});

test('P7: the host name that a node reports does not act on the terminal of who retires it', async (t) => {
  const home = new Home(t);
  const store = await openStore(undefined, { home: home.path });
  const node = new FakeNode(NEW, 'web\x1b]0;x\x07\u202e1');
  await store.load([node.next('logins', 'log', [plainEvent()], { time: new Date().toISOString() })]);
  await store.close();
  const name = 'web\\x1b]0;x\\x07\\u202e1';
  assert.equal(await home.run('node', 'retire', NEW), `retired ${name}\n`);
  assert.equal(await home.run('node', 'add', NEW), `taken back ${name}\n`);
  assert.equal(await home.run('node', 'add', NEW), `${name} is in the register already\n`);
});

test('P5: --fail ends with 1 when a node is not complete, and the report is written all the same', async (t) => {
  const home = await centre(t);
  const good = await home.try('report', 'logins', '--fail');
  assert.deepEqual([good.code, good.stderr], [0, '']);
  await home.run('node', 'add', NEW, '--host', 'new1');
  const table = await home.try('report', 'logins', '--fail');
  assert.deepEqual([table.code, table.stderr], [1, '']);
  assert.match(table.stdout, /^incomplete: [\s\S]* web1 +happened/);
  const file = join(home.path, 'r.csv');
  const csv = await home.try('report', 'logins', '--fail', '--format', 'csv', '--output', file);
  assert.equal(csv.code, 1);
  assert.match(csv.stderr, /^dsac-report: incomplete: 1 of 2 nodes complete; 1 silent: new1 .*\n$/);
  assert.match(readFileSync(file, 'utf8'), /web1,happened/);
});

test('a report where nothing was loaded yet says so, and makes no store', async (t) => {
  const home = new Home(t);
  const path = join(home.path, 'var/lib/dsac/store.db');
  const none =
    /error: there is no store at \S+store\.db yet: nothing has been loaded\n.*hint: run dsac agent/;
  for (const args of [
    ['report', 'packages'],
    ['node', 'ls'],
  ]) {
    const { code, stderr } = await home.try(...args);
    assert.equal(code, 69);
    assert.match(stderr, none);
    assert.ok(!existsSync(path), 'a store was made');
  }
  const other = await centre(t);
  writeFileSync(join(other.path, 'var/lib/dsac/store.db'), '');
  assert.match((await other.try('report', 'packages')).stderr, none);
});

test('a store that lacks tables is named as damaged, with which', async (t) => {
  const home = await centre(t);
  const { db } = await openStore(undefined, { home: home.path });
  for (const table of ['streams', 'forks']) await sql`drop table ${sql.table(table)}`.execute(db);
  await db.destroy();
  const { code, stderr } = await home.try('report', 'packages');
  assert.equal(code, 69);
  assert.match(stderr, /error: the store \S+ is damaged: it lacks streams, forks\n.*hint: restore it/);
});
