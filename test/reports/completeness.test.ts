import assert from 'node:assert/strict';
import test from 'node:test';
import completeness from '../../reports/completeness.ts';
import { addNode, retireNode } from '../../src/store/register.ts';
import { storedDate } from '../../src/store/times.ts';
import { FakeNode, plainEvent } from '../helpers/batches.ts';
import { assertGolden } from '../helpers/golden.ts';
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

/** A node's id that sorts as the number does. */
const id = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`;

/** A node whose logins agent wrote a batch each hour to 20:00 and ran last at `ran`. */
function hourly(n: number, host: string, ran = '23:30', sent: (seq: number) => boolean = () => true) {
  const node = new FakeNode(id(n), host);
  const batches = Array.from({ length: 20 }, (_, hour) =>
    node.next('logins', 'log', [plainEvent()], { time: at(`${String(hour + 1).padStart(2, '0')}:00`) }),
  );
  const head = receipt(node, at(ran), 'logins', { head: batches.at(-1)! });
  return { node, batches: [...batches.filter(({ header }) => sent(header.seq)), head] };
}

/** A fleet in which everything that completeness knows of has happened to a node. */
async function troubled() {
  const restarted = hourly(6, 'restarted1');
  const lost = hourly(7, 'lost1');
  const event = { ...plainEvent(), time: at('21:00'), action: 'history-lost', source: 'wtmp' };
  const fork = hourly(5, 'forked1');
  const packages = new InventoryNode(new FakeNode(id(8), 'differs1'));
  const gone = new InventoryNode(new FakeNode(id(8), 'differs1'));
  const state = packages.snapshot(at('01:00'), { a: { v: 1 } });
  const store = await storeWith([
    ...hourly(1, 'whole1').batches,
    ...hourly(2, 'late1', '20:30').batches,
    ...hourly(3, 'gapped1', '23:30', (seq) => ![3, 4, 9, 12, 13, 17].includes(seq)).batches,
    ...hourly(4, 'tail1', '23:30', (seq) => seq < 19).batches,
    ...fork.batches,
    new FakeNode(id(5), 'forked1').next('logins', 'log', [plainEvent(2)], { time: at('01:00') }),
    ...restarted.batches,
    restarted.node.next('logins', 'log', [], { epoch: 'new', time: at('22:00') }),
    ...lost.batches,
    lost.node.next('logins', 'log', [{ ...event, data: { lost: 'all before 12:00' } }], {
      time: at('21:00'),
    }),
    state,
    packages.node.next('packages', 'changes', [], {
      time: at('02:00'),
      state: gone.snapshot(at('02:00'), { a: { v: 2 } }).header.state,
    }),
    receipt(packages.node, at('23:30'), 'packages'),
    ...hourly(9, 'ahead1').batches,
    ...hourly(10, 'retired1', '05:00').batches,
  ]);
  const [day, noon] = [storedDate(new Date(at('00:00'))), storedDate(new Date(at('12:00')))];
  await store.db
    .insertInto('ahead')
    .values({
      node: id(9),
      agent: 'logins',
      day: day.slice(0, 10),
      batches: 3,
      ahead_ms: 7_500_000,
      first_loaded: noon,
      last_loaded: noon,
      first_told: noon,
      last_told: noon,
    })
    .execute();
  await addNode(store, id(11), 'never1', new Date(at('00:00')));
  await retireNode(store, id(10), 'sold', new Date(at('21:30')));
  return store;
}

test('P5: every way in which an account is not complete shows in the table, in its node’s row and in the head line', async (t) => {
  const store = await troubled();
  t.after(() => store.close());
  const text = await reportText(store, completeness, 'table');
  assertGolden(new URL('../golden/report-completeness.txt', import.meta.url), text, 'report completeness');
});
