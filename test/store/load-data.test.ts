/** Very many events at once: on MySQL and MariaDB they take another way in than few do. */
import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { Kysely, MysqlDialect, sql } from 'kysely';
import { createPool } from 'mysql2';
import type { BatchEvent } from '../../src/spool/batch.ts';
import { eventsIn } from '../../src/store/events.ts';
import { teachRowFiles } from '../../src/store/load-data.ts';
import { openStore, Store } from '../../src/store/store.ts';
import type { Tables } from '../../src/store/tables.ts';
import { FakeNode, plainEvent } from '../helpers/batches.ts';
import { connectionOf } from '../helpers/private-services.ts';
import { ownDatabase, servicesLeftOut } from '../helpers/services.ts';
import { onEachStore } from './stores.ts';

/** More than one statement takes. */
const MANY = 700;
const ALWAYS = { since: new Date(0), until: new Date('2100-01-01') };
const TEXTS = [
  '',
  '\\',
  '\\N',
  '\t',
  '\n',
  '\0',
  '\r\n',
  '\u001a',
  "'",
  '"',
  'ü€😀',
  '\\0',
  'NULL',
  '\ud800',
];

const awkward = (n: number): BatchEvent => ({
  ...plainEvent(n),
  item: n % 2 === 0 ? `thing/\\${n}\\` : `Ding/ü${n}`,
  ...(n % 3 === 0 ? {} : { by: { user: TEXTS[n % TEXTS.length]!, uid: n } }),
  data: { [TEXTS[n % TEXTS.length]!]: TEXTS[(n * 5) % TEXTS.length]! },
});

const many = (one: (n: number) => BatchEvent): BatchEvent[] => Array.from({ length: MANY }, (_, n) => one(n));

async function told(store: Store): Promise<unknown[]> {
  const events: unknown[] = [];
  for await (const { item, by, data } of eventsIn(store, ALWAYS)) events.push([item, by, data]);
  return events;
}

/** How often this connection was asked for what this counter counts. */
async function asked(store: Store, counter: 'Com_load' | 'Com_rollback_to_savepoint'): Promise<number> {
  const { rows } = await sql<{ Value: string }>`show session status like ${counter}`.execute(store.db);
  return Number(rows[0]!.Value);
}

/** A store whose connections may not load a text: the server answers as one that does not allow it. */
async function withoutLoading(t: TestContext): Promise<Store> {
  const url = await ownDatabase(t);
  const made = await openStore(url, { home: '/' });
  await made.close();
  const pool = createPool({
    ...connectionOf(url),
    database: new URL(url).pathname.slice(1),
    charset: 'utf8mb4',
    dateStrings: true,
    flags: ['-LOCAL_FILES'],
  });
  pool.on('connection', teachRowFiles);
  const store = new Store(new Kysely<Tables>({ dialect: new MysqlDialect({ pool }) }), 'mysql', 'test');
  t.after(() => store.close());
  return store;
}

onEachStore(
  'text of every kind comes out of the store as it went in, however much there is',
  async (_t, store) => {
    const events = many(awkward);
    await store.load([new FakeNode().next('logins', 'log', events)]);
    assert.deepEqual(
      await told(store),
      events.map(({ item, by, data }) => [item, by, data]),
    );
    if (store.dialect !== 'mysql') return;
    assert.equal(await asked(store, 'Com_load'), 1);
    assert.equal(await asked(store, 'Com_rollback_to_savepoint'), 0);
  },
);

test('a server that does not allow LOAD DATA LOCAL gets the same events, and a loss among them once', {
  skip: servicesLeftOut,
}, async (t) => {
  const store = await withoutLoading(t);
  const events = [...many(awkward), { ...plainEvent(MANY), action: 'history-lost' }];
  await store.load([new FakeNode().next('logins', 'log', events)]);
  assert.deepEqual(
    await told(store),
    events.map(({ item, by, data }) => [item, by, data]),
  );
  assert.equal(await asked(store, 'Com_rollback_to_savepoint'), 1);
  assert.equal((await store.db.selectFrom('losses').selectAll().execute()).length, 1);
});

onEachStore('a value that does not fit is not cut off because there are many others', async (_t, store) => {
  const item = '\ud800'.repeat(512);
  const events = many(plainEvent).with(650, { ...plainEvent(650), item });
  const load = store.load([new FakeNode().next('logins', 'log', events)]);
  if (store.dialect === 'sqlite') return load;
  await assert.rejects(load, { kind: 'data', message: /has no room for a value: Data too long/ });
  assert.deepEqual(await told(store), []);
});

onEachStore(
  'a malformed event among very many stops the whole load, and the next one goes on',
  async (_t, store) => {
    const node = new FakeNode();
    const bad = many(plainEvent).with(650, { ...plainEvent(650), action: 'NOT A NAME' });
    const batch = node.next('users', 'log', bad);
    await assert.rejects(store.load([batch]), {
      kind: 'data',
      message: /^batch 1 of users.*: event 651: action/,
    });
    assert.deepEqual(await told(store), []);
    await store.load([node.next('logins', 'log', many(plainEvent))]);
    assert.equal((await told(store)).length, MANY);
  },
);
