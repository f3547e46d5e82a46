import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { sql } from 'kysely';
import { projectRoot } from '../../src/config/project.ts';
import type { DsacError } from '../../src/errors.ts';
import type { Batch } from '../../src/spool/batch.ts';
import { eventsIn } from '../../src/store/events.ts';
import { SCHEMA_VERSION } from '../../src/store/migrate.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { FakeNode, plainEvent } from '../helpers/batches.ts';
import { ownDatabase, servicesLeftOut } from '../helpers/services.ts';
import { temporary } from '../helpers/tree.ts';
import { at, InventoryNode, onEachStore, receipt, sqliteUrl } from './stores.ts';

const ALWAYS = { since: new Date(0), until: new Date('2100-01-01') };

async function told(store: Store): Promise<string[]> {
  const lines: string[] = [];
  for await (const { time, action, item, derived } of eventsIn(store, ALWAYS)) {
    lines.push(`${time.slice(11, 16)} ${action} ${item}${derived ? ' (derived)' : ''}`);
  }
  return lines;
}

async function count(
  store: Store,
  table: 'events' | 'batches' | 'forks' | 'items' | 'runs',
): Promise<number> {
  const row = await store.db
    .selectFrom(table)
    .select((eb) => eb.fn.countAll<number>().as('n'))
    .executeTakeFirstOrThrow();
  return Number(row.n);
}

/** Items as they were at a moment, or as they are. */
async function itemsAt(store: Store, time?: string): Promise<Record<string, unknown>> {
  const rows = await store.db.selectFrom('items').selectAll().orderBy('item').execute();
  const moment = time && `${time.slice(0, 10)} ${time.slice(11, 23)}`;
  const valid = rows.filter(({ valid_from, valid_to }) =>
    moment === undefined
      ? valid_to === null
      : valid_from <= moment && (valid_to === null || valid_to > moment),
  );
  return Object.fromEntries(valid.map(({ item, fields_json }) => [item, JSON.parse(fields_json).v]));
}

onEachStore('a batch loaded twice counts once, in one load or in two', async (_t, store) => {
  const batch = new FakeNode().next('logins', 'log', [plainEvent(1), plainEvent(2)]);
  await store.load([batch, batch]);
  await store.load([batch]);
  assert.equal(await count(store, 'events'), 2);
  assert.equal(await count(store, 'batches'), 1);
  assert.equal(await count(store, 'forks'), 0);
});

onEachStore(
  'another batch under the same key is kept as a fork, and the first one stays',
  async (_t, store) => {
    const first = new FakeNode().next('logins', 'log', [plainEvent(1)]);
    const twin = new FakeNode().next('logins', 'log', [plainEvent(2)]);
    await store.load([first]);
    await store.load([twin, twin]);
    const forks = await store.db.selectFrom('forks').selectAll().execute();
    assert.deepEqual(
      forks.map(({ seq, sha256, reason }) => ({ seq, sha256, reason })),
      [{ seq: 1, sha256: twin.trailer.sha256, reason: 'twin' }],
    );
    assert.deepEqual(await told(store), ['01:00 happened thing/1']);
  },
);

onEachStore('a batch built on another predecessor than the one that is here is a fork', async (_t, store) => {
  const [honest, other] = [new FakeNode(), new FakeNode()];
  const first = honest.next('logins', 'log', [plainEvent(1)]);
  other.next('logins', 'log', [plainEvent(9)]);
  const second = other.next('logins', 'log', [plainEvent(2)]);
  await store.load([second]);
  await store.load([first]);
  const forks = await store.db.selectFrom('forks').selectAll().execute();
  assert.deepEqual(
    forks.map(({ seq, sha256, reason }) => ({ seq, sha256, reason })),
    [{ seq: 1, sha256: second.header.prev, reason: 'chain' }],
  );
});

onEachStore(
  'the first snapshot fills the items and is no event; later ones that agree change nothing',
  async (_t, store) => {
    const node = new InventoryNode();
    await store.load([node.snapshot(at('01:00'), { a: { v: 1 }, b: { v: 1 } })]);
    await store.load([node.changes(at('02:00'), { a: { v: 2 }, b: { v: 1 } })]);
    await store.load([node.snapshot(at('03:00'), { a: { v: 2 }, b: { v: 1 } })]);
    assert.deepEqual(await told(store), ['02:00 changed a']);
    assert.deepEqual(await itemsAt(store), { a: 2, b: 1 });
    assert.deepEqual(await itemsAt(store, at('01:30')), { a: 1, b: 1 });
    assert.equal(await count(store, 'items'), 3);
  },
);

onEachStore(
  'what a snapshot shows and no event told is derived, with the hole it must have happened in',
  async (_t, store) => {
    const node = new InventoryNode();
    const first = node.snapshot(at('01:00'), { a: { v: 1 }, b: { v: 1 } });
    node.changes(at('02:00'), { a: { v: 2 }, c: { v: 1 } });
    const third = node.snapshot(at('03:00'), { a: { v: 2 }, c: { v: 1 } });
    await store.load([first, third]);
    assert.deepEqual(await told(store), [
      '03:00 differed a (derived)',
      '03:00 vanished b (derived)',
      '03:00 appeared c (derived)',
    ]);
    for await (const event of eventsIn(store, ALWAYS)) assert.equal(event.since, at('01:00'));
  },
);

onEachStore(
  'a batch that comes late takes the derived events back and puts its own in their place',
  async (_t, store) => {
    const node = new InventoryNode();
    const first = node.snapshot(at('01:00'), { a: { v: 1 }, b: { v: 1 } });
    const second = node.changes(at('02:00'), { a: { v: 2 }, c: { v: 1 } });
    const third = node.snapshot(at('03:00'), { a: { v: 2 }, c: { v: 1 } });
    await store.load([first, third]);
    await store.load([second]);
    assert.deepEqual(await told(store), ['02:00 changed a', '02:00 removed b', '02:00 added c']);
    assert.deepEqual(await itemsAt(store, at('02:30')), { a: 2, c: 1 });
    assert.deepEqual(await itemsAt(store, at('01:30')), { a: 1, b: 1 });
  },
);

onEachStore('a clock that was ahead once does not keep a node’s old name for ever', async (_t, store) => {
  const before = new FakeNode(undefined, 'old');
  await store.load([before.next('logins', 'log', [plainEvent(1)], { time: '2099-01-01T00:00:00.000Z' })]);
  const after = before.next('logins', 'log', [plainEvent(2)], {
    time: new Date().toISOString(),
    host: 'new',
  });
  await store.load([after]);
  const [node] = await store.db.selectFrom('nodes').select(['host', 'last_seen']).execute();
  assert.equal(node?.host, 'new');
  assert.ok(node!.last_seen < '2099');
});

onEachStore('a value that the database has no room for is its batch’s own fault', async (_t, store) => {
  const item = '\ud800'.repeat(512);
  const batch = new FakeNode().next('logins', 'log', [{ ...plainEvent(1), item }]);
  if (store.dialect === 'sqlite') await store.load([batch]);
  else
    await assert.rejects(store.load([batch]), {
      name: 'DsacError',
      kind: 'data',
      message: /has no room for a value: Data too long/,
    });
});

onEachStore('a clock that runs backwards leaves one state per item at any moment', async (_t, store) => {
  const node = new InventoryNode();
  await store.load([
    node.snapshot(at('05:00'), { a: { v: 1 } }),
    node.changes(at('02:00'), {}),
    node.changes(at('03:00'), { a: { v: 3 } }),
    node.changes(at('06:00'), { a: { v: 4 } }),
  ]);
  const rows = await store.db
    .selectFrom('items')
    .select(['valid_from', 'valid_to'])
    .orderBy('from_batch')
    .execute();
  assert.deepEqual(
    rows.map(({ valid_from, valid_to }) => [valid_from.slice(11, 16), valid_to?.slice(11, 16)]),
    [
      ['05:00', '05:00'],
      ['05:00', '06:00'],
      ['06:00', undefined],
    ],
  );
});

onEachStore('a malformed event stops the whole load and the message names the batch', async (_t, store) => {
  const good = new FakeNode().next('logins', 'log', [plainEvent()]);
  const node = new FakeNode('00000000-0000-4000-8000-000000000001', 'db1');
  const bad = node.next('packages', 'snapshot', [{ time: at('01:00'), action: 'present', item: 'a' }]);
  await assert.rejects(store.load([good, bad]), (error: DsacError) => {
    assert.equal(error.kind, 'data');
    assert.match(
      error.message,
      /^batch 1 of packages, epoch 2026\S+, node 00000000-\S+1: event 1: no after, in a snapshot$/,
    );
    return true;
  });
  assert.equal(await count(store, 'batches'), 0);
});

onEachStore('keys that differ only in case, accent or trailing space stay apart', async (_t, store) => {
  const node = new InventoryNode();
  const state = {
    a: { v: 1 },
    A: { v: 2 },
    'a ': { v: 3 },
    á: { v: 4 },
    'a\u0301': { v: 5 },
    '🦀': { v: 6 },
    '\ud800': { v: 7 },
  };
  await store.load([node.snapshot(at('01:00'), state)]);
  await store.load([node.changes(at('02:00'), { ...state, a: { v: 9 } })]);
  assert.deepEqual(await itemsAt(store), { A: 2, a: 9, 'a ': 3, 'a\u0301': 5, á: 4, '🦀': 6, '\\ud800': 7 });
  assert.deepEqual(await store.db.selectFrom('mismatches').selectAll().execute(), []);
});

onEachStore('text of any kind comes back as it was', async (_t, store) => {
  const nasty = `'"\\ \u0000\u001b[31m %s ? \`; -- \u202e 🦀 \ud800 ${'x'.repeat(70_000)}`;
  const event = {
    time: '0999-12-31T23:59:59.999Z',
    action: 'happened',
    data: { nasty, deep: [{ b: 1, a: null }] },
  };
  await store.load([new FakeNode().next('logins', 'log', [event], { host: `web'\\\u001b1` })]);
  const window = { since: new Date('0900-01-01'), until: new Date() };
  for await (const back of eventsIn(store, window)) {
    assert.deepEqual(back.data, event.data);
    assert.equal(back.time, event.time);
    assert.equal(back.host, `web'\\\u001b1`);
  }
});

onEachStore('receipts become runs and name the head of each stream', async (_t, store) => {
  const node = new FakeNode();
  const head = node.next('logins', 'log', [plainEvent()]);
  await store.load([receipt(node, at('02:00'), 'logins', { head, seq: 7 }), head]);
  const [stream] = await store.db.selectFrom('streams').selectAll().where('agent', '=', 'logins').execute();
  assert.equal(stream?.last_seq, 1);
  assert.equal(stream?.named_seq, 7);
  assert.equal(await count(store, 'runs'), 1);
  assert.deepEqual(await told(store), ['01:00 happened thing/1']);
});

/** Runs processes that each create the store's schema, if need be, and load batches one by one in an order of their own. */
async function loadFromProcesses(
  t: TestContext,
  url: string,
  orders: readonly (readonly Batch[])[],
): Promise<void> {
  const folder = temporary(t);
  const runs = orders.map(async (batches, index) => {
    const file = join(folder, `${index}.jsonl`);
    writeFileSync(file, Buffer.concat(batches.map(({ bytes }) => bytes)));
    await promisify(execFile)(process.execPath, [join(import.meta.dirname, 'loader.ts'), url, file]);
  });
  await Promise.all(runs);
}

async function concurrentLoaders(t: TestContext, url: string): Promise<void> {
  const node = new InventoryNode();
  const batches = [node.snapshot(at('01:00'), { a: { v: 0 } })];
  for (let v = 1; v < 12; v++)
    batches.push(node.changes(at(`02:${String(v).padStart(2, '0')}`), { a: { v } }));
  await loadFromProcesses(t, url, [batches, batches.toReversed(), batches]);
  const store = await openStore(url, { home: '/' });
  t.after(() => store.close());
  assert.equal(await count(store, 'batches'), 12);
  assert.equal(await count(store, 'events'), 11);
  assert.equal(await count(store, 'items'), 12);
  assert.deepEqual(await itemsAt(store), { a: 11 });
  const ranges = await store.db.selectFrom('ranges').select(['first_seq', 'last_seq']).execute();
  assert.deepEqual(
    ranges.map(({ first_seq, last_seq }) => [first_seq, last_seq]),
    [[1, 12]],
  );
  const applied = await store.db.selectFrom('migrations').select('version').execute();
  assert.deepEqual(
    applied.map(({ version }) => version),
    Array.from({ length: SCHEMA_VERSION }, (_, n) => n + 1),
  );
}

test('processes that start at once make one schema and load each batch once (SQLite)', (t) =>
  concurrentLoaders(t, sqliteUrl(t)));
test(
  'processes that start at once make one schema and load each batch once (MySQL)',
  { skip: servicesLeftOut },
  async (t) => concurrentLoaders(t, await ownDatabase(t)),
);

onEachStore('a large batch is loaded whole, in statements that the server accepts', async (_t, store) => {
  const events = Array.from({ length: 2500 }, (_, n) => ({
    ...plainEvent(n),
    data: { n, pad: 'é'.repeat(2000) },
  }));
  await store.load([new FakeNode().next('logins', 'log', events)]);
  assert.equal(await count(store, 'events'), 2500);
});

onEachStore('a schema newer than this program is refused, and left alone', async (_t, store) => {
  const next = { version: SCHEMA_VERSION + 1, name: 'later', applied: '2030-01-01 00:00:00.000' };
  await store.db.insertInto('migrations').values(next).execute();
  const { migrate } = await import('../../src/store/migrate.ts');
  await assert.rejects(migrate(store.db, store.dialect, store.label), (error: DsacError) => {
    assert.equal(error.kind, 'config');
    assert.match(
      error.message,
      new RegExp(`schema version ${SCHEMA_VERSION + 1}, this dsac knows up to ${SCHEMA_VERSION}`),
    );
    return true;
  });
});

test('a reader that stops half-way does not keep the store from closing (MySQL)', {
  skip: servicesLeftOut,
}, async (t) => {
  const store = await openStore(await ownDatabase(t), { home: '/' });
  const events = Array.from({ length: 20_000 }, (_, n) => plainEvent(n));
  await store.load([new FakeNode().next('logins', 'log', events)]);
  for await (const event of eventsIn(store, ALWAYS)) if (event.item) break;
  await store.close();
});

const WRONG = {
  'postgres://x/y': /unknown scheme 'postgres:'/,
  'store.db': /does not begin with a scheme/,
  'sqlite:': /names no file/,
  'mysql://root:secret@host': /expected one database name after the host/,
  'mysql://root:secret@host/db?ssl=1': /unknown parameter 'ssl'/,
};
for (const [url, message] of Object.entries(WRONG)) {
  test(`the URL ${url} is refused with the forms that are allowed, and without its password`, async (t) => {
    await assert.rejects(openStore(url, { home: temporary(t) }), (error: DsacError) => {
      assert.equal(error.kind, 'config');
      assert.match(error.message, message);
      assert.match(error.hint ?? '', /sqlite:PATH or mysql:/);
      assert.doesNotMatch(error.message, /secret/);
      return true;
    });
  });
}

test('a server that is not there is unavailable, and the message holds no password', async () => {
  const closed = createServer();
  const port = await new Promise<number>((done) => {
    closed.listen(0, '127.0.0.1', () => done((closed.address() as { port: number }).port));
  });
  await new Promise((done) => closed.close(done));
  await assert.rejects(
    openStore(`mysql://root:secret@127.0.0.1:${port}/x`, { home: '/' }),
    (error: DsacError) => {
      assert.equal(error.kind, 'unavailable');
      assert.match(
        error.message,
        new RegExp(`cannot reach the store 127.0.0.1:${port}/x as root: .*ECONNREFUSED`),
      );
      assert.doesNotMatch(error.message, /secret/);
      return true;
    },
  );
});

test('a file that is no database is unavailable', async () => {
  await assert.rejects(openStore('sqlite:package.json', { home: projectRoot }), (error: DsacError) => {
    assert.equal(error.kind, 'unavailable');
    assert.match(error.message, /package\.json: file is not a database/);
    return true;
  });
});

onEachStore(
  'docs/store.md describes every table and column, and none that is not there',
  async (_t, store) => {
    const page = readFileSync(join(projectRoot, 'docs/store.md'), 'utf8');
    const documented = new Map<string, string[]>();
    for (const section of page.split(/^### /m).slice(1)) {
      const name = /^`(\w+)`/.exec(section)?.[1];
      if (name)
        documented.set(name, [...section.matchAll(/^\| `(\w+)` \|/gm)].map((match) => match[1]!).sort());
    }
    const tables = (await store.db.introspection.getTables()).map(
      ({ name, columns }) => [name, columns.map((column) => column.name).sort()] as const,
    );
    assert.deepEqual(documented, new Map(tables.toSorted(([a], [b]) => order(page, a) - order(page, b))));
  },
);

function order(page: string, table: string): number {
  return page.indexOf(`### \`${table}\``);
}

onEachStore('reports in a window use an index, not the whole table', async (_t, store) => {
  if (store.dialect === 'mysql') return;
  const plan = await sql<{ detail: string }>`explain query plan
    select * from events e join batches b on b.id = e.batch where e.agent in ('services') and e.time >= '2026' and e.time < '2027'
    order by e.time, e.node, e.batch, e.idx`.execute(store.db);
  const text = plan.rows.map(({ detail }) => detail).join('; ');
  assert.match(text, /events_by_agent_time_node/);
  assert.doesNotMatch(text, /SCAN e|TEMP B-TREE/);
});
