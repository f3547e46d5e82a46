import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { Batch } from '../../src/spool/batch.ts';
import type { Store } from '../../src/store/store.ts';
import { plainEvent } from '../helpers/batches.ts';
import { Evidence } from '../helpers/evidence.ts';
import { at, InventoryNode, onEachStore, receipt } from '../store/stores.ts';

/** An archive of every kind of batch, loaded into a store; answers what verify finds of the store. */
async function loaded(t: TestContext, store: Store): Promise<() => Promise<string[]>> {
  const evidence = new Evidence(t);
  const packages = new InventoryNode(evidence.node);
  const log = evidence.other.next('logins', 'log', [
    plainEvent(1),
    { ...plainEvent(2), source: 'wtmp', by: { user: 'eve' } },
  ]);
  const batches: Batch[] = [
    packages.snapshot(at('01:00'), { a: { n: 1 }, b: { n: 1, ö: '\ud800' } }),
    packages.changes(at('02:00'), { a: { n: 2 }, c: { n: 1 } }),
    log,
    receipt(evidence.other, at('03:00'), 'logins', { head: log }),
  ];
  await evidence.keep(...batches);
  await store.load(batches);
  const own: Store = Object.assign(Object.create(store), { close: async () => {} });
  const verify = (): Promise<string[]> =>
    evidence.kinds({ store: { open: async () => own, expects: () => true } });
  assert.deepEqual(await verify(), []);
  return verify;
}

onEachStore('P6: a field of an event that was changed in the store is found', async (t, store) => {
  const verify = await loaded(t, store);
  const { db } = store;
  await db.updateTable('events').set({ data_json: '{"n":7}' }).where('data_json', '=', '{"n":1}').execute();
  assert.deepEqual(await verify(), ['store logins 1']);
  await db.updateTable('events').set({ data_json: '{"n":1}' }).where('data_json', '=', '{"n":7}').execute();
  await db.updateTable('events').set({ time: '2026-11-23 00:00:00.000' }).where('item', '=', 'c').execute();
  assert.deepEqual(await verify(), ['store packages 2']);
});

onEachStore(
  'P6: an event or a run that was taken out of the store is found, and a count',
  async (t, store) => {
    const verify = await loaded(t, store);
    const { db } = store;
    await db.deleteFrom('events').where('source', '=', 'wtmp').execute();
    await db.deleteFrom('runs').execute();
    assert.deepEqual(await verify(), ['store logins 1', 'store receipts 1']);
    await db.updateTable('batches').set({ events: 1 }).where('agent', '=', 'logins').execute();
    assert.deepEqual(await verify(), ['store logins 1', 'store receipts 1']);
  },
);

onEachStore('P6: an item of now that was changed in the store is found', async (t, store) => {
  const verify = await loaded(t, store);
  await store.db.updateTable('items').set({ fields_json: '{"n":3}' }).where('item', '=', 'a').execute();
  assert.deepEqual(await verify(), ['store packages']);
});

onEachStore('P6: a batch that the store lacks, or names by another digest, is found', async (t, store) => {
  const verify = await loaded(t, store);
  const other = '0'.repeat(64);
  await store.db.updateTable('batches').set({ sha256: other }).where('agent', '=', 'logins').execute();
  assert.deepEqual(await verify(), ['store logins 1', 'store logins 1']);
  await store.db.deleteFrom('batches').where('agent', '=', 'receipts').execute();
  assert.deepEqual(await verify(), ['store logins 1', 'store logins 1', 'store receipts 1']);
});

onEachStore(
  'P9: of a batch with very many events few are held at once, and each is compared',
  async (t, store) => {
    const evidence = new Evidence(t);
    const batch = evidence.node.next(
      'logins',
      'log',
      Array.from({ length: 12_000 }, (_, n) => plainEvent(n)),
    );
    await evidence.keep(batch);
    await store.load([batch]);
    let most = 0;
    const db = store.db.withPlugin({
      transformQuery: ({ node }) => node,
      transformResult: async ({ result }) => {
        most = Math.max(most, result.rows.length);
        return result;
      },
    });
    const own: Store = Object.assign(Object.create(store), { db, close: async () => {} });
    const verify = (): Promise<string[]> =>
      evidence.kinds({ store: { open: async () => own, expects: () => true } });
    assert.deepEqual(await verify(), []);
    assert.ok(most > 1000 && most <= 5000, `${most} rows at once`);
    await store.db.updateTable('events').set({ action: 'other' }).where('idx', '=', 11_000).execute();
    assert.deepEqual(await verify(), ['store logins 1']);
    await store.db.deleteFrom('events').where('idx', '=', 11_000).execute();
    assert.deepEqual(await verify(), ['store logins 1']);
  },
);
