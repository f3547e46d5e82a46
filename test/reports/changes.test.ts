import assert from 'node:assert/strict';
import test from 'node:test';
import changesReport from '../../reports/changes.ts';
import { FakeNode } from '../helpers/batches.ts';
import { at, receipt } from '../store/stores.ts';
import { reportConformance, reportRows } from '../suites/report.ts';
import { changed, changes, HOSTILE, log } from './nodes.ts';

function day() {
  const node = new FakeNode();
  return [
    changes(
      'users',
      '02:00',
      [changed('user/alice', 'shell-changed', { shell: 'a' }, { shell: HOSTILE })],
      node,
    ),
    log(
      'logins',
      '03:00',
      [
        {
          time: at('02:30'),
          action: 'login',
          data: { user: HOSTILE },
          by: { user: 'bob', command: HOSTILE },
        },
      ],
      node,
    ),
    changes('exec', '03:00', [changed('x', 'present', undefined, { a: 1 })], node),
    receipt(node, at('03:00'), 'users'),
  ];
}

reportConformance(changesReport, day);

test('every event of every agent is a line; receipts and what was only seen first are none', async () => {
  const rows = await reportRows(changesReport, day());
  assert.deepEqual(
    rows.map(({ agent, action }) => `${agent} ${action}`),
    ['users shell-changed', 'logins login'],
  );
  assert.match(String(rows[0]?.summary), /^shell: a → =cmd/);
});
