import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import store from '../../processors/store.ts';
import { FakeNode, plainEvent } from '../helpers/batches.ts';
import { Counter } from '../helpers/handlers.ts';
import { onDatabase, ownDatabase, servicesLeftOut } from '../helpers/services.ts';
import { fill, smallDisk } from '../helpers/small-disk.ts';
import { temporary } from '../helpers/tree.ts';
import { handlerConformance } from '../suites/handler.ts';
import { loadedInto, refusesOneAlone } from '../suites/loading-handler.ts';

handlerConformance(store, {
  folder: 'processors',
  destination: (_t, { paths }) => ({
    options: {},
    arrived: () => loadedInto(`sqlite:${join(paths.home, 'var/lib/dsac/store.db')}`),
  }),
  down: (t) => {
    const path = join(temporary(t), 'store.db');
    mkdirSync(path);
    return { url: `sqlite:${path}` };
  },
});

refusesOneAlone(store, 'store (SQLite)', async (t) => `sqlite:${join(temporary(t), 'store.db')}`, false);
refusesOneAlone(store, 'store (MySQL)', ownDatabase, servicesLeftOut);

/** Each: what is done to the database behind the store's back, and what the store says of it. */
const closed: readonly (readonly [what: string, sql: string, said: RegExp])[] = [
  [
    'full',
    'alter table events engine = Aria, row_format = dynamic, avg_row_length = 1, max_rows = 1',
    /The table 'events' is full/,
  ],
  ['without its tables', 'drop table events', /Table '.*events' doesn't exist/],
];

for (const [what, sql, said] of closed) {
  test(`P4: a database that is ${what} is down, and nothing is held against the batches`, {
    skip: servicesLeftOut,
  }, async (t) => {
    const url = await ownDatabase(t);
    const [server] = await onDatabase(url, 'select version() as version');
    if (sql.includes('Aria') && !String(server?.version).includes('MariaDB'))
      return t.skip('left out: only MariaDB has tables that are soon full');
    const counter = new Counter(t);
    const node = new FakeNode();
    const session = await counter.open(store, { url });
    await onDatabase(url, sql);
    const text = 'x'.repeat(60_000);
    const parcels = await counter.files(
      ...[1, 2].map((n) => node.next('logins', 'log', [{ ...plainEvent(n), data: { text } }])),
    );
    const down = { name: 'DestinationDown', message: said };
    await assert.rejects(session.deliver(parcels), down);
    await assert.rejects(session.deliver(parcels.slice(1)), down, 'a batch alone is blamed');
  });
}

test('P4: a store on a disk that is full is down, nothing is held against the batches, and they are loaded once there is room', async (t) => {
  const disk = smallDisk(t, 'size=32m');
  if (disk === undefined) return;
  const counter = new Counter(t);
  const node = new FakeNode();
  const url = `sqlite:${join(disk, 'store.db')}`;
  const session = await counter.open(store, { url });
  const told = Array.from({ length: 400 }, (_, n) => ({
    ...plainEvent(n),
    data: { text: 'x'.repeat(10_000) },
  }));
  const parcels = await counter.files(node.next('logins', 'log', told), node.next('logins', 'log', told));
  const makeRoom = fill(disk, 'bytes', 1024 * 1024);
  const down = {
    name: 'DestinationDown',
    message: /^the store \/.*store\.db: database or disk is full$/,
  };
  await assert.rejects(session.deliver(parcels), down);
  await assert.rejects(session.deliver(parcels.slice(1)), down, 'a batch alone is blamed');
  makeRoom();
  await session.deliver(parcels);
  assert.equal((await loadedInto(url)).length, 2);
});

test('P4: an event that is larger than the server takes is refused with its batch, and the others are loaded', {
  skip: servicesLeftOut,
}, async (t) => {
  const url = await ownDatabase(t);
  const [server] = await onDatabase(url, 'select @@max_allowed_packet as most');
  // Each quotation mark takes two bytes in a batch, and four in a statement.
  const marks = Math.ceil(Number(server?.most) / 4);
  if (marks * 2 > 15 * 1024 * 1024) return t.skip('left out: this server takes whatever a batch may hold');
  const counter = new Counter(t);
  const node = new FakeNode();
  const session = await counter.open(store, { url });
  const [before, large, behind] = await counter.files(
    node.next('logins', 'log', [plainEvent(1)]),
    node.next('logins', 'log', [{ ...plainEvent(2), data: { text: '"'.repeat(marks) } }]),
    node.next('logins', 'log', [plainEvent(3)]),
  );
  await assert.rejects(session.deliver([before!, large!, behind!]), { name: 'DsacError', kind: 'data' });
  const [{ status, reason }] = (await session.deliver([large!])) as [{ status: string; reason: string }];
  assert.equal(status, 'rejected');
  assert.match(reason, /a row of \d+ bytes is more than the server takes \(max_allowed_packet is \d+\)/);
  await session.deliver([before!, behind!]);
  const rows = await onDatabase(url, 'select seq from batches order by seq');
  assert.deepEqual(
    rows.map(({ seq }) => seq),
    [1, 3],
  );
});
