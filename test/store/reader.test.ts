/** Those who only look: a database user who may read and no more. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import test, { type TestContext } from 'node:test';
import { sql } from 'kysely';
import type { DsacError } from '../../src/errors.ts';
import { completenessOf } from '../../src/store/completeness.ts';
import { eventsIn } from '../../src/store/events.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { FakeNode, plainEvent } from '../helpers/batches.ts';
import { ownDatabase, servicesLeftOut } from '../helpers/services.ts';

const WINDOW = { since: new Date('2026-11-23'), until: new Date('2026-11-24'), now: new Date('2026-11-24') };

/** A URL of the database for a new user who may only read it. `root` is open to it. */
async function readerOf(t: TestContext, root: Store, url: string): Promise<string> {
  const reader = new URL(url);
  reader.username = `dsac_test_${randomBytes(6).toString('hex')}`;
  reader.password = randomBytes(6).toString('hex');
  const user = sql.raw(`'${reader.username}'@'%'`);
  await sql`create user ${user} identified by ${sql.lit(reader.password)}`.execute(root.db);
  t.after(() => sql`drop user ${user}`.execute(root.db));
  await sql`grant select on ${sql.id(reader.pathname.slice(1))}.* to ${user}`.execute(root.db);
  return reader.href;
}

async function refusal(url: string): Promise<DsacError> {
  let found: DsacError | undefined;
  await assert.rejects(openStore(url, { home: '/', existing: true }), (error: DsacError) => {
    found = error;
    return true;
  });
  return found!;
}

test('who may only read gets reports, and is told where there is nothing to read or the store is an old one', {
  skip: servicesLeftOut,
}, async (t) => {
  const url = await ownDatabase(t);
  const other = await ownDatabase(t);
  const root = await openStore(url, { home: '/' });
  const reader = await readerOf(t, root, url);
  const empty = await readerOf(t, root, other);
  // Last of the hooks that use it.
  t.after(() => root.close());
  await root.load([new FakeNode().next('logins', 'log', [plainEvent()])]);
  const store = await openStore(reader, { home: '/', existing: true });
  const { counts } = await completenessOf(store, WINDOW);
  await store.close();
  assert.equal(counts.nodes, 1);

  const nothing = await refusal(empty);
  assert.equal(nothing.kind, 'unavailable');
  assert.match(
    nothing.message,
    /^there is no store at 127\.0\.0\.1:\d+\/dsac_test_\w+ yet: nothing has been loaded$/,
  );

  for (const table of ['ranges', 'register'] as const) await root.db.schema.dropTable(table).execute();
  assert.match((await refusal(reader)).message, /is damaged: it lacks ranges, register$/);
  await root.db.deleteFrom('migrations').where('version', '>', 1).execute();
  const old = await refusal(reader);
  assert.equal(old.kind, 'noperm');
  assert.match(old.message, /must be brought to schema version \d+, and this user may not: /);
  assert.equal(old.hint, 'run dsac process once, as the user who loads');
});

test('who reads a long report may pause for longer than the server waits by itself', {
  skip: servicesLeftOut,
}, async (t) => {
  const store = await openStore(await ownDatabase(t), { home: '/' });
  t.after(() => store.close());
  const { rows } = await sql<{ seconds: number }>`select @@net_write_timeout as seconds`.execute(store.db);
  assert.equal(rows[0]?.seconds, 86_400);
});

test('a report whose connection ends amid the rows fails, and says why', {
  skip: servicesLeftOut,
}, async (t) => {
  const url = await ownDatabase(t);
  const store = await openStore(url, { home: '/' });
  const other = await openStore(url, { home: '/' });
  t.after(() => Promise.all([store.close(), other.close()]));
  const events = Array.from({ length: 6000 }, (_, n) => ({
    ...plainEvent(n),
    data: { text: 'x'.repeat(3000) },
  }));
  await store.load([new FakeNode().next('logins', 'log', events)]);
  const rows = eventsIn(store, WINDOW);
  await rows.next();
  const asked = await sql<{ id: number }>`select id from information_schema.processlist
    where db = database() and id <> connection_id()`.execute(other.db);
  for (const { id } of asked.rows) await sql`kill ${sql.lit(id)}`.execute(other.db);
  await assert.rejects(Array.fromAsync(rows), (error: DsacError) => {
    assert.equal(error.kind, 'unavailable');
    assert.match(error.message, /^the store \S+ went away: /);
    return true;
  });
});
