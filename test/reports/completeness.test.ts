import assert from 'node:assert/strict';
import test from 'node:test';
import completeness from '../../reports/completeness.ts';
import { FakeNode, plainEvent } from '../helpers/batches.ts';
import { at, InventoryNode, receipt } from '../store/stores.ts';
import { reportConformance, reportRows, reportText, storeWith } from '../suites/report.ts';
import { HOSTILE } from './nodes.ts';

function day() {
  const node = new FakeNode(undefined, `web1${HOSTILE}`);
  const packages = new InventoryNode(node);
  const batches = [1, 2, 3, 4].map((n) =>
    node.next('logins', 'log', [plainEvent(n)], { time: at(`0${n}:00`) }),
  );
  return [
    packages.snapshot(at('01:00'), { a: { v: 1 } }),
    packages.changes(at('23:00'), { a: { v: 2 } }),
    ...batches.filter(({ header }) => header.seq !== 2),
    receipt(node, at('23:30'), 'packages'),
    receipt(node, at('23:30'), 'logins', { head: batches[3]! }),
  ];
}

reportConformance(completeness, day, { ordered: false });

test('a row per stream says what came last, what is missing, and whether the state adds up', async () => {
  const rows = await reportRows(completeness, day());
  const short = rows.map(({ agent, state, seq, gaps, digest, action }) => ({
    agent,
    state,
    seq,
    gaps,
    digest,
    action,
  }));
  assert.deepEqual(short, [
    { agent: 'logins', state: 'gapped', seq: 4, gaps: [{ from: 2, to: 2 }], digest: null, action: 'ok' },
    { agent: 'packages', state: 'complete', seq: 2, gaps: [], digest: true, action: 'ok' },
    { agent: 'receipts', state: 'complete', seq: 2, gaps: [], digest: null, action: null },
  ]);
});

test('the table names the missing batches and begins with the head line', async () => {
  const store = await storeWith(day());
  const text = await reportText(store, completeness, 'table');
  assert.match(text, /^incomplete: 0 of 1 nodes complete; 1 gapped: web1=cmd.* logins 2\n\n/);
  assert.match(text, /logins +gapped +2026-11-23 23:30:00 +ok +3 +1, 3–4 +2\n/);
  await store.close();
});
