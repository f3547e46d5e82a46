/** What throws doubt on an account though no batch is missing: restarts, losses of source, states that differ, clocks that are ahead. */
import assert from 'node:assert/strict';
import { setTimeout } from 'node:timers/promises';
import { completenessOf, digestAgrees, streamStates } from '../../src/store/completeness.ts';
import type { StreamState } from '../../src/store/completeness-rules.ts';
import { headLine } from '../../src/store/completeness-words.ts';
import { eventsIn } from '../../src/store/events.ts';
import type { Store } from '../../src/store/store.ts';
import { FakeNode, plainEvent } from '../helpers/batches.ts';
import { at, InventoryNode, onEachStore, receipt } from './stores.ts';

function question(since = at('00:00'), until = at('12:00')) {
  return { since: new Date(since), until: new Date(until), now: new Date(until) };
}

async function head(store: Store, since?: string, until?: string): Promise<string> {
  return headLine(await completenessOf(store, question(since, until)));
}

async function streamOf(store: Store, agent: string, since?: string, until?: string): Promise<StreamState> {
  for await (const streams of streamStates(store, question(since, until))) {
    const found = streams.findLast((stream) => stream.agent === agent);
    if (found) return found;
  }
  throw new Error(`no stream of ${agent}`);
}

onEachStore(
  'P5: a new epoch in the window is a restart, and in later windows it is not',
  async (_t, store) => {
    const node = new FakeNode();
    const next = (clock: string, epoch: string) =>
      node.next('logins', 'log', [plainEvent()], { time: at(clock), epoch });
    await store.load([next('01:00', 'one'), next('05:00', 'two'), next('11:00', 'two')]);
    assert.equal(await head(store), 'incomplete: 0 of 1 nodes complete; 1 restarted: web1 logins');
    assert.equal((await streamOf(store, 'logins')).restarted, at('05:00'));
    assert.equal(await head(store, at('06:00')), 'complete: 1 of 1 nodes');
    assert.equal(await head(store, at('00:00'), at('04:00')), 'complete: 1 of 1 nodes');
  },
);

onEachStore('P5: a restart of which only a receipt has come shows', async (_t, store) => {
  const node = new FakeNode();
  const first = node.next('logins', 'log', [plainEvent()], { time: at('01:00'), epoch: 'one' });
  const second = node.next('logins', 'log', [plainEvent()], { time: at('05:00'), epoch: 'two' });
  await store.load([first, receipt(node, at('11:30'), 'logins', { head: second })]);
  assert.match(await head(store), /1 gapped: web1 logins 1; 1 restarted: web1 logins$/);
});

onEachStore(
  'P5: a loss that an agent tells of makes its node incomplete in that window',
  async (_t, store) => {
    const node = new FakeNode();
    const lost = (clock: string, data: Record<string, string>) => ({
      ...plainEvent(),
      time: at(clock),
      action: 'history-lost',
      source: 'wtmp',
      data,
    });
    await store.load([
      node.next('logins', 'log', [lost('03:00', { lost: 'first' }), lost('04:00', { detail: 'cut at 12' })], {
        time: at('04:00'),
      }),
      receipt(node, at('11:30'), 'logins'),
    ]);
    assert.equal(await head(store), 'incomplete: 0 of 1 nodes complete; 1 lost history: web1 logins');
    const { losses, loss, state } = await streamOf(store, 'logins');
    assert.deepEqual({ losses, loss, state }, { losses: 2, loss: 'wtmp: detail cut at 12', state: 'lost' });
    assert.equal(await head(store, at('05:00')), 'complete: 1 of 1 nodes');
  },
);

onEachStore(
  'P5: a state that does not add up is recorded with when, until a snapshot mends it',
  async (_t, store) => {
    const node = new InventoryNode();
    const forged = new InventoryNode();
    await store.load([node.snapshot(at('01:00'), { a: { v: 1 }, b: { v: 1 } })]);
    // The node says that b is 2, and its events do not.
    forged.snapshot(at('01:00'), { a: { v: 1 }, b: { v: 2 } });
    const silent = forged.changes(at('02:00'), { a: { v: 2 }, b: { v: 2 } });
    const change = node.changes(at('02:00'), { a: { v: 2 }, b: { v: 1 } });
    const told = node.node.next('packages', 'changes', [...change.events()], {
      seq: 2,
      prev: change.header.prev,
      time: at('02:00'),
      since: at('01:00'),
      state: silent.header.state,
    });
    await store.load([told]);
    assert.equal(
      await head(store),
      'incomplete: 0 of 1 nodes complete; 1 differing from the state told: web1 packages',
    );
    const before = await streamOf(store, 'packages');
    assert.deepEqual([before.digest, before.differed], [false, { from: at('02:00'), to: null }]);
    await store.load([
      node.node.next(
        'packages',
        'snapshot',
        [
          { time: at('05:00'), action: 'present', item: 'a', after: { v: 2 } },
          { time: at('05:00'), action: 'present', item: 'b', after: { v: 2 } },
        ],
        { seq: 3, prev: told.trailer.sha256, time: at('05:00') },
      ),
    ]);
    const after = await streamOf(store, 'packages');
    assert.deepEqual([after.digest, after.differed], [true, { from: at('02:00'), to: at('05:00') }]);
    assert.equal(after.state, 'differs');
    assert.equal(await head(store, at('06:00')), 'complete: 1 of 1 nodes');
    const { node: id, agent, epoch } = told.header;
    assert.equal(await digestAgrees(store, id, agent, epoch), true);
    const derived = await Array.fromAsync(eventsIn(store, question()));
    assert.deepEqual(
      derived.filter((event) => event.derived).map(({ action, item, since }) => [action, item, since]),
      [['differed', 'b', at('02:00')]],
    );
  },
);

onEachStore(
  'P5: a state that differs only for want of a batch adds up when that comes',
  async (_t, store) => {
    const node = new InventoryNode();
    const first = node.snapshot(at('01:00'), { a: { v: 1 } });
    const second = node.changes(at('02:00'), { a: { v: 1 }, b: { v: 1 } });
    const third = node.changes(at('03:00'), { a: { v: 2 }, b: { v: 1 } });
    const fourth = node.snapshot(at('04:00'), { a: { v: 2 }, b: { v: 1 } });
    await store.load([first, third]);
    assert.match(
      await head(store),
      /1 gapped: web1 packages 2; 1 differing from the state told: web1 packages$/,
    );
    await store.load([fourth]);
    assert.deepEqual((await streamOf(store, 'packages')).differed, { from: at('03:00'), to: at('04:00') });
    await store.load([second]);
    assert.equal(await head(store), 'complete: 1 of 1 nodes');
  },
);

const HOUR = 3_600_000;
const ahead = (ms: number): string => new Date(Date.now() + ms).toISOString();

onEachStore(
  'P5: a node whose clock is ahead is named where its events lie behind the end of the window',
  async (_t, store) => {
    const node = new FakeNode();
    const time = ahead(3 * HOUR + 60_000);
    await store.load([node.next('logins', 'log', [{ ...plainEvent(), time }], { time })]);
    const now = new Date();
    const window = { since: new Date(now.getTime() - HOUR), until: now, now };
    assert.deepEqual(await Array.fromAsync(eventsIn(store, window)), []);
    assert.equal(
      headLine(await completenessOf(store, window)),
      'incomplete: 0 of 1 nodes complete; 1 with a clock ahead: web1 (by 3h)',
    );
    const told = {
      since: new Date(now.getTime() + 2 * HOUR),
      until: new Date(now.getTime() + 4 * HOUR),
      now,
    };
    assert.match(headLine(await completenessOf(store, told)), /1 with a clock ahead: web1 \(by 3h\)$/);
    const past = { since: new Date(0), until: new Date(now.getTime() - HOUR), now };
    assert.doesNotMatch(headLine(await completenessOf(store, past)), /ahead/);
  },
);

onEachStore(
  'P5: an epoch whose clock was years ahead does not hide that the next one was a restart, nor that it ended',
  async (_t, store) => {
    const node = new FakeNode();
    const next = (epoch: string, time: string) => node.next('logins', 'log', [plainEvent()], { time, epoch });
    await store.load([next('one', '2099-01-01T00:00:00.000Z')]);
    await setTimeout(20);
    const since = ahead(0);
    await store.load([next('two', ahead(1))]);
    assert.equal(
      await head(store, since, ahead(HOUR)),
      'incomplete: 0 of 1 nodes complete; 1 restarted: web1 logins',
    );
    assert.match(await head(store, ahead(70 * HOUR), ahead(72 * HOUR)), /1 silent: web1$/);
  },
);

onEachStore(
  'P5: events ahead of an honest header count too; clocks within two minutes agree; a slow one proves nothing',
  async (_t, store) => {
    const [early, near, slow] = ['early1', 'near1', 'slow1'].map(
      (host, n) => new FakeNode(`00000000-0000-4000-8000-00000000000${n}`, host),
    );
    const now = ahead(0);
    await store.load([
      early!.next('logins', 'log', [{ ...plainEvent(), time: ahead(25 * HOUR) }], { time: now }),
      near!.next('logins', 'log', [{ ...plainEvent(), time: ahead(60_000) }], { time: ahead(110_000) }),
      slow!.next('logins', 'log', [plainEvent()], { time: ahead(-20 * HOUR) }),
    ]);
    const until = new Date(Date.now() + 1000);
    const answer = await completenessOf(store, {
      since: new Date(Date.now() - 48 * HOUR),
      until,
      now: until,
    });
    assert.equal(headLine(answer), 'incomplete: 2 of 3 nodes complete; 1 with a clock ahead: early1 (by 1d)');
  },
);
