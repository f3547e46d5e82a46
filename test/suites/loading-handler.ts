/** What the two handlers that load a store have in common. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Handler } from '../../src/plugin/handler.ts';
import { openStore } from '../../src/store/store.ts';
import { FakeNode, plainEvent } from '../helpers/batches.ts';
import { Counter } from '../helpers/handlers.ts';

/** The sha256 of every batch in the store at `url`. */
export async function loadedInto(url: string): Promise<string[]> {
  const store = await openStore(url, { home: '/' });
  try {
    const rows = await store.db.selectFrom('batches').select('sha256').execute();
    return rows.map(({ sha256 }) => sha256);
  } finally {
    await store.close();
  }
}

/** A batch that no store can take is refused by itself. */
export function refusesOneAlone<O>(
  handler: Handler<O>,
  name: string,
  urlFor: (t: TestContext) => Promise<string>,
  skip: string | false,
): void {
  test(`${name}: a batch with a malformed event is refused alone, and the others of its group are loaded`, {
    skip,
  }, async (t) => {
    const counter = new Counter(t);
    const node = new FakeNode();
    const good = node.next('logins', 'log', [plainEvent()]);
    const bad = node.next('users', 'log', [{ ...plainEvent(), action: 'NOT A NAME' }]);
    const url = await urlFor(t);
    const session = await counter.open(handler, { url });
    const parcels = await counter.files(good, bad);
    await assert.rejects(session.deliver(parcels), /batch 1 of users/);
    const answers = [...(await session.deliver([parcels[0]!])), ...(await session.deliver([parcels[1]!]))];
    assert.equal(answers[0]?.status, 'delivered');
    assert.ok(answers[1]?.status === 'rejected' && /event 1: action/.test(answers[1].reason));
    assert.deepEqual(await loadedInto(url), [good.trailer.sha256]);
  });
}
