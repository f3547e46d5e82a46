import assert from 'node:assert/strict';
import test from 'node:test';
import users from '../../reports/users.ts';
import { reportConformance, reportRows } from '../suites/report.ts';
import { changed, changes, HOSTILE } from './nodes.ts';

const alice = { uid: 1000, shell: '/bin/sh', groups: ['adm'] };

const day = () => [
  changes('users', '02:00', [
    changed('user/alice', 'shell-changed', alice, { ...alice, shell: '/bin/bash' }),
    changed('group/a/b', 'added', undefined, { gid: 7, members: [] }),
    changed('user/mallory', 'removed', { uid: 0, gecos: HOSTILE }, undefined),
  ]),
];

reportConformance(users, day);

test('a row says of what kind, which fields changed, and what they were', async () => {
  const [shell, group, gone] = await reportRows(users, day());
  assert.deepEqual(
    {
      kind: shell?.kind,
      name: shell?.name,
      changed: shell?.changed,
      before: shell?.before,
      after: shell?.after,
    },
    {
      kind: 'user',
      name: 'alice',
      changed: ['shell'],
      before: alice,
      after: { ...alice, shell: '/bin/bash' },
    },
  );
  assert.deepEqual([group?.kind, group?.name, group?.before], ['group', 'a/b', null]);
  assert.deepEqual([gone?.action, gone?.after], ['removed', null]);
});
