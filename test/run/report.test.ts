import assert from 'node:assert/strict';
import test from 'node:test';
import changesReport from '../../reports/changes.ts';
import { formatNamed } from '../../src/cli/output/formats.ts';
import type { DsacError } from '../../src/errors.ts';
import { nodesMatching, runReport } from '../../src/run/report.ts';
import { noCounts } from '../../src/store/completeness-words.ts';
import { FakeNode, plainEvent } from '../helpers/batches.ts';
import { at, watched } from '../store/stores.ts';
import { reportText, storeWith } from '../suites/report.ts';

const IDS = ['a', 'b', 'c'].map((letter) => `${letter.repeat(8)}-0000-4000-8000-000000000000`);
const fleet = () =>
  ['web1', 'web2.example.net', 'db[1]'].map((host, n) =>
    new FakeNode(IDS[n]!, host).next('logins', 'log', [plainEvent(n)]),
  );

test('--node matches host names and ids, by glob or as they are', async (t) => {
  const store = await storeWith(fleet());
  t.after(() => store.close());
  const hits = async (...globs: string[]) => (await nodesMatching(store, globs))?.sort();
  assert.equal(await hits(), undefined);
  assert.deepEqual(await hits('web*'), IDS.slice(0, 2));
  assert.deepEqual(await hits('web1', 'cccc*'), [IDS[0], IDS[2]]);
  assert.deepEqual(await hits('db[1]'), [IDS[2]]);
  assert.deepEqual(await hits('{web1,db*}'), [IDS[0], IDS[2]]);
});

test('a glob that matches no node is an error that lists the hosts there are', async (t) => {
  const store = await storeWith(fleet());
  t.after(() => store.close());
  await assert.rejects(nodesMatching(store, ['web*', 'mail*']), (error: DsacError) => {
    assert.equal(error.kind, 'usage');
    assert.equal(error.message, "--node 'mail*' matches no node");
    assert.equal(error.hint, 'known are: db[1], web1, web2.example.net');
    return true;
  });
});

test('a window that ends before it begins is refused', async (t) => {
  const store = await storeWith([]);
  t.after(() => store.close());
  const scope = {
    since: new Date(at('03:00')),
    until: new Date(at('02:00')),
    nodes: undefined,
    now: new Date(),
  };
  const format = await formatNamed('json', undefined);
  await assert.rejects(
    runReport(store, changesReport, scope, format, () => {}),
    /--since .* is not before --until/,
  );
});

test('JSON is one object with the window, the counts and the rows', async (t) => {
  const store = await storeWith(fleet());
  t.after(() => store.close());
  const answer = JSON.parse(await reportText(store, changesReport, 'json'));
  assert.deepEqual(Object.keys(answer), [
    'report',
    'since',
    'until',
    'generated',
    'summary',
    'completeness',
    'rows',
  ]);
  assert.equal(answer.report, 'changes');
  assert.match(answer.summary, /^(in)?complete: /);
  assert.equal(answer.since, '2026-11-23T00:00:00.000Z');
  assert.deepEqual(Object.keys(answer.completeness), Object.keys(noCounts()));
  assert.equal(answer.rows.length, 3);
});

test('rows whose format has no head line do not wait for how complete they are', async (t) => {
  const store = await storeWith(fleet());
  t.after(() => store.close());
  const cost = async (format: 'csv' | 'ndjson' | 'json'): Promise<number> => {
    const { questions, ...seen } = watched(store);
    await reportText(seen.store, changesReport, format);
    return questions.length;
  };
  assert.equal(await cost('ndjson'), 1);
  assert.equal(await cost('csv'), 1);
  assert.ok((await cost('json')) > 1);
});

test('each piece is written before the next is made, so that a slow reader holds the report back', async (t) => {
  const node = new FakeNode();
  const store = await storeWith([
    node.next(
      'logins',
      'log',
      Array.from({ length: 100 }, (_, n) => plainEvent(n)),
    ),
  ]);
  t.after(() => store.close());
  const scope = {
    since: new Date(at('00:00')),
    until: new Date(at('23:00')),
    nodes: undefined,
    now: new Date(),
  };
  let writing = 0;
  let rows = 0;
  await runReport(store, changesReport, scope, await formatNamed('ndjson', undefined), async () => {
    rows++;
    assert.equal(++writing, 1);
    await new Promise(setImmediate);
    writing--;
  });
  assert.equal(rows, 100);
});
