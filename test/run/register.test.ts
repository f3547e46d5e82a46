/** The register of expected nodes: what a person enters, and what it does to completeness. */
import assert from 'node:assert/strict';
import type { DsacError } from '../../src/errors.ts';
import { KnownNodes } from '../../src/evidence/known-nodes.ts';
import { add, listNodes, retire } from '../../src/run/register.ts';
import type { Batch } from '../../src/spool/batch.ts';
import { completenessOf } from '../../src/store/completeness.ts';
import { headLine } from '../../src/store/completeness-words.ts';
import type { Store } from '../../src/store/store.ts';
import { FakeNode, plainEvent } from '../helpers/batches.ts';
import { at, onEachStore, receipt } from '../store/stores.ts';

/** A centre that has heard no key. */
const NO_KEYS = await KnownNodes.read(import.meta.dirname);
const NEW = '00000000-0000-4000-8000-00000000000a';
const NOW = new Date(at('12:00'));

/** What a node wrote whose logins agent, due each hour, last ran at `time`. Batch 2 is left out where `gap` is set. */
function lived(host: string, id: number, time: string, { gap = false } = {}): Batch[] {
  const node = new FakeNode(`00000000-0000-4000-8000-${String(id).padStart(12, '0')}`, host);
  const batches = ['01:00', '02:00', '03:00'].map((clock) =>
    node.next('logins', 'log', [plainEvent()], { time: at(clock, 22) }),
  );
  const sent = batches.filter(({ header }) => !gap || header.seq !== 2);
  return [...sent, receipt(node, time, 'logins', { head: batches[2]! })];
}

/** Nodes of which one reports, one is late, and one silent. */
async function load(store: Store): Promise<void> {
  await store.load([
    ...lived('web1', 1, at('11:30')),
    ...lived('web2', 2, at('08:00')),
    ...lived('db1', 3, at('04:00', 22)),
  ]);
}

async function head(store: Store, since = at('00:00', 20), until = NOW): Promise<string> {
  return headLine(await completenessOf(store, { since: new Date(since), until, now: NOW }));
}

async function statuses(store: Store, ...globs: string[]): Promise<Record<string, string>> {
  const nodes = await listNodes(store, NO_KEYS, globs, NOW);
  return Object.fromEntries(nodes.map(({ host, status, agents }) => [host, [status, ...agents].join(' ')]));
}

onEachStore(
  'P5: the register tells which nodes report, are late, silent or were never heard of',
  async (_t, store) => {
    await load(store);
    await add(store, NEW, { host: 'new1' }, NOW);
    assert.deepEqual(await statuses(store), {
      db1: 'silent logins',
      new1: 'never reported',
      web1: 'reporting',
      web2: 'late logins',
    });
    assert.deepEqual(await statuses(store, 'web*', NEW), {
      new1: 'never reported',
      web1: 'reporting',
      web2: 'late logins',
    });
  },
);

onEachStore(
  'P5: a node that was added and has never reported is silent, and complete is none without it',
  async (_t, store) => {
    await store.load(lived('web1', 1, at('11:30')));
    assert.equal(await head(store), 'complete: 1 of 1 nodes');
    assert.equal(await add(store, NEW, { host: 'new1' }, new Date(at('09:00'))), 'added new1');
    assert.equal(await head(store), 'incomplete: 1 of 2 nodes complete; 1 silent: new1 (never reported)');
    assert.equal(await head(store, at('00:00'), new Date(at('08:00'))), 'complete: 1 of 1 nodes');
    await retire(store, 'new1', undefined, NOW);
    assert.equal(await head(store), 'complete: 2 of 2 nodes');
  },
);

onEachStore('P5: a retired node owes nothing from then on, but what it owed before', async (_t, store) => {
  await load(store);
  await store.load(lived('gap1', 4, at('05:00', 22), { gap: true }));
  const gapped = /; 1 gapped: gap1 logins 2$/;
  for (const host of ['db1', 'gap1'])
    assert.equal(await retire(store, host, 'sold', new Date(at('10:00'))), `retired ${host}`);
  assert.equal(await head(store), 'incomplete: 2 of 4 nodes complete; 1 late: web2; 1 gapped: gap1 logins 2');
  assert.equal(await head(store, at('10:00')), 'incomplete: 1 of 2 nodes complete; 1 late: web2');
  const before = await head(store, at('00:00', 20), new Date(at('09:00')));
  assert.match(before, /2 silent: db1, gap1/);
  assert.match(before, gapped);
  assert.deepEqual(await statuses(store, 'db1'), { db1: 'retired' });
});

onEachStore('P5: a gap that was made only after a node was retired is not counted', async (_t, store) => {
  const node = new FakeNode();
  const batches = [at('01:00'), at('06:00'), at('07:00')].map((time) =>
    node.next('logins', 'log', [plainEvent()], { time }),
  );
  await store.load([batches[0]!]);
  await retire(store, 'web1', undefined, new Date(at('00:30')));
  await store.load([batches[2]!]);
  assert.match(await head(store), /^incomplete: 0 of 1 nodes complete; 1 retired and reporting again: web1$/);
});

onEachStore('P5: a retired node that reports again is named, until it is taken back', async (_t, store) => {
  await store.load(lived('web1', 1, at('04:00')));
  await retire(store, 'web1', 'sold', new Date(at('05:00')));
  await store.load([
    new FakeNode('00000000-0000-4000-8000-000000000001', 'web1').next('users', 'log', [], {
      time: at('11:00'),
    }),
  ]);
  assert.equal(await head(store), 'incomplete: 0 of 1 nodes complete; 1 retired and reporting again: web1');
  assert.deepEqual(await statuses(store), { web1: 'retired, reporting again' });
  assert.equal(await head(store, at('00:00', 20), new Date(at('04:30'))), 'complete: 1 of 1 nodes');
  assert.equal(await add(store, '00000000-0000-4000-8000-000000000001', {}, NOW), 'taken back web1');
  assert.equal(await head(store), 'incomplete: 0 of 1 nodes complete; 1 late: web1');
});

onEachStore(
  'what was added stays so when it is changed, retired, taken back and reports',
  async (_t, store) => {
    assert.equal(await add(store, NEW, {}, NOW), `added ${NEW}`);
    assert.equal(await add(store, NEW, { host: 'new1' }, NOW), `changed ${NEW}`);
    assert.equal(await retire(store, NEW, undefined, NOW), 'retired new1');
    assert.match(await retire(store, NEW, undefined, NOW), /^new1 has been retired since 2026-11-23$/);
    await add(store, NEW, {}, NOW);
    assert.equal(await add(store, NEW, {}, NOW), 'new1 is in the register already');
    await store.load([new FakeNode(NEW, 'renamed1').next('logins', 'log', [plainEvent()])]);
    const [node] = await listNodes(store, NO_KEYS, [], NOW);
    assert.deepEqual([node?.host, node?.how, node?.key], ['renamed1', 'added', null]);
  },
);

onEachStore('mistakes with nodes are told apart, and change nothing', async (_t, store) => {
  await store.load([...lived('twin', 7, at('11:30')), ...lived('twin', 8, at('11:30'))]);
  const before = await listNodes(store, NO_KEYS, [], NOW);
  const mistakes: [() => Promise<unknown>, RegExp][] = [
    [() => listNodes(store, NO_KEYS, ['mail*'], NOW), /^'mail\*' is no node of the register$/],
    [() => retire(store, 'mail1', undefined, NOW), /^'mail1' is no node of the register$/],
    [() => retire(store, 'twin', undefined, NOW), /^2 nodes are called 'twin': 0\S*7, 0\S*8$/],
    [() => add(store, 'web1', {}, NOW), /^'web1' is not a node id: expected a UUID in lower case$/],
    [() => add(store, NEW, { key: 'abc' }, NOW), /^--key: 'abc' is not an Ed25519 public key in base64/],
    [() => add(store, NEW, { host: '' }, NOW), /^--host: /],
  ];
  for (const [mistake, said] of mistakes) {
    await assert.rejects(mistake, (error: DsacError) => {
      assert.equal(error.kind, 'usage');
      assert.match(error.message, said);
      return true;
    });
  }
  assert.deepEqual(await listNodes(store, NO_KEYS, [], NOW), before);
});
