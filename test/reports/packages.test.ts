import assert from 'node:assert/strict';
import test from 'node:test';
import packages from '../../reports/packages.ts';
import type { Batch, BatchEvent } from '../../src/spool/batch.ts';
import { FakeNode } from '../helpers/batches.ts';
import { assertGolden } from '../helpers/golden.ts';
import { at } from '../store/stores.ts';
import { reportConformance, reportRows, reportText, storeWith } from '../suites/report.ts';
import { changed, changes, HOSTILE, log } from './nodes.ts';

function recorded(
  source: string,
  clock: string,
  action: string,
  name: string,
  from?: string,
  to?: string,
  command?: string,
): BatchEvent {
  return {
    time: at(clock),
    action,
    item: `dpkg/${name}/amd64`,
    source,
    ...(from && { before: { version: from } }),
    ...(to && { after: { version: to } }),
    ...(command && { by: { user: 'alice', uid: 1000, command } }),
  };
}

/** A day on one node: an upgrade and an installation that logs tell of, and one of which only the inventory knows. */
function day(): Batch[] {
  const node = new FakeNode();
  return [
    log(
      'package-history',
      '02:00',
      [
        recorded('apt', '01:17:40', 'upgraded', 'openssl', '3.0.11-1', '3.0.15-1', 'apt-get upgrade'),
        recorded('apt', '01:30', 'installed', 'hello', undefined, '2.10-3', `apt install hello ${HOSTILE}`),
        recorded('dpkg', '01:17:44', 'upgraded', 'openssl', '3.0.11-1', '3.0.15-1'),
        recorded('dpkg', '01:30:02', 'installed', 'hello', undefined, '2.10-3'),
        recorded('dpkg', '01:40:02', 'removed', 'nano', '7.2-1'),
      ],
      node,
    ),
    changes(
      'packages',
      '02:00',
      [
        changed('dpkg/openssl/amd64', 'upgraded', { version: '3.0.11-1' }, { version: '3.0.15-1' }),
        changed('dpkg/hello/amd64', 'installed', undefined, { version: '2.10-3' }),
        changed(
          'dpkg/nano/amd64',
          'removed',
          { version: '7.2-1', status: 'installed' },
          { version: '7.2-1', status: 'config-files' },
        ),
        changed(`dpkg/${HOSTILE.replace(/[\p{Cc}/]/gu, '')}/amd64`, 'installed', undefined, {
          version: HOSTILE,
        }),
      ],
      node,
    ),
  ];
}

reportConformance(packages, day);

test('one row per real change, with who, from, to and every source', async () => {
  const rows = await reportRows(packages, day());
  const openssl = rows.find(({ name }) => name === 'openssl');
  assert.deepEqual(openssl, {
    time: at('01:17:44'),
    node: '6f1c5a9e-0f5e-4d0e-8a54-3c1c7d4a9b10',
    host: 'web1',
    action: 'upgraded',
    manager: 'dpkg',
    name: 'openssl',
    arch: 'amd64',
    from: '3.0.11-1',
    to: '3.0.15-1',
    by: { user: 'alice', uid: 1000, command: 'apt-get upgrade' },
    source: 'dpkg+apt+observed',
  });
  assert.equal(rows.length, 4);
});

test('a change before the window that is looked at within it is not a row', async () => {
  const rows = await reportRows(packages, day(), { since: new Date(at('01:50')) });
  assert.deepEqual(
    rows.map(({ source }) => source),
    ['observed'],
  );
});

test('a change in the window that is looked at after it is marked as observed', async () => {
  const [row] = await reportRows(packages, day(), { until: new Date(at('01:20')) });
  assert.equal(row?.source, 'dpkg+apt+observed');
});

test('table, CSV and JSON read as they should', async (t) => {
  const store = await storeWith(day());
  t.after(() => store.close());
  for (const format of ['table', 'csv', 'json'] as const) {
    const file = new URL(`../golden/report-packages.${format === 'table' ? 'txt' : format}`, import.meta.url);
    assertGolden(file, await reportText(store, packages, format), `report packages as ${format}`);
  }
});

test('an agent that lost its state and reads its logs again tells nothing twice', async () => {
  const node = new FakeNode();
  const twice = recorded('dpkg', '01:17:44', 'failed', 'openssl', '3.0.11-1', '3.0.15-1');
  const told = [recorded('apt', '01:30', 'installed', 'hello', undefined, '2'), twice, twice];
  const again = [...told, recorded('dpkg', '03:00', 'removed', 'nano', '7')];
  const before = node.next('package-history', 'log', told, { epoch: 'e1', time: at('02:00') });
  const after = node.next('package-history', 'log', again, { epoch: 'e2', time: at('04:00') });
  for (const batches of [
    [before, after],
    [after, before],
  ]) {
    const rows = await reportRows(packages, batches);
    assert.deepEqual(
      rows.map(({ action }) => action),
      ['failed', 'failed', 'installed', 'removed'],
    );
  }
});

test('a change whose two records lie on both sides of a window’s end is in one of two adjoining windows', async () => {
  const batches = [
    log('package-history', '02:00', [
      recorded('apt', '01:29:58', 'installed', 'hello', undefined, '2'),
      recorded('dpkg', '01:30:02', 'installed', 'hello', undefined, '2'),
    ]),
  ];
  const edge = new Date(at('01:30'));
  assert.deepEqual(await reportRows(packages, batches, { until: edge }), []);
  const rows = await reportRows(packages, batches, { since: edge });
  assert.deepEqual(
    rows.map(({ time, source }) => [time, source]),
    [[at('01:30:02'), 'dpkg+apt']],
  );
});

test('a window may begin and end as early and as late as a time can be written', async () => {
  const rows = await reportRows(packages, day());
  for (const [since, until] of [
    ['0000-01-01T00:00:00Z', '9999-12-31T00:00:00Z'],
    ['-000001-12-31T19:00:00Z', '+010000-01-01T04:59:59Z'],
  ])
    assert.deepEqual(
      await reportRows(packages, day(), { since: new Date(since!), until: new Date(until!) }),
      rows,
    );
});

for (const [edge, recordedAt, end, looks] of [
  ['the end', '01:58', '02:10', ['02:01', '03:01']],
  ['the beginning', '02:00:30', '02:00:40', ['01:00', '01:59:30']],
] as const)
  test(`a change is told with all that is known of it where only the look lies behind ${edge} of the window`, async () => {
    const node = new FakeNode();
    const vim = { item: 'rpm/vim/x86_64', after: { version: '2' } };
    const [since, time] = [at(looks[0]), at(looks[1])];
    const batches = [
      log(
        'package-history',
        '04:00',
        [{ ...vim, time: at(recordedAt), action: 'installed', source: 'zypp', data: { end: at(end) } }],
        node,
      ),
      node.next(
        'packages',
        'changes',
        [{ ...vim, time, action: 'upgraded', source: 'rpm', before: { version: '1' } }],
        { time, since },
      ),
    ];
    const whole = await reportRows(packages, batches);
    assert.deepEqual(
      whole.map(({ action, from, source }) => [action, from, source]),
      [['upgraded', '1', 'zypp+observed']],
    );
    const middle = new Date(at('02:00'));
    const parts = [
      await reportRows(packages, batches, { until: middle }),
      await reportRows(packages, batches, { since: middle }),
    ];
    assert.deepEqual(parts.flat(), whole);
  });
