import assert from 'node:assert/strict';
import test from 'node:test';
import users from '../../reports/users.ts';
import { reportConformance, reportRows, reportText, storeWith } from '../suites/report.ts';
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

test('the table says which group an account joined, however many it is in, and no long comment hides a user id', async () => {
  const groups = Array.from({ length: 30 }, (_, n) => `group${n}`);
  const backdoor = {
    gecos: 'x'.repeat(400),
    gid: 0,
    group: 'root',
    groups,
    home: `/home/${'y'.repeat(400)}`,
    locked: false,
    login: true,
    password: 'set',
    password_changed: '2026-11-23',
    password_digest: 'f'.repeat(32),
    shell: `/bin/${'z'.repeat(400)}`,
    superuser: true,
    uid: 0,
  };
  const store = await storeWith([
    changes('users', '02:00', [
      changed('user/alice', 'joined', { uid: 1000, groups }, { uid: 1000, groups: [...groups, 'sudo'] }),
      changed('user/bob', 'groups-changed', { groups }, { groups: [...groups.slice(1), 'zzz'] }),
      changed('user/mallory', 'added', undefined, backdoor),
    ]),
  ]);
  const text = await reportText(store, users, 'table');
  assert.match(text, / alice +groups: \+\["sudo"\]$/m);
  assert.match(text, / bob +groups: \+\["zzz"\] -\["group0"\]$/m);
  assert.match(text, / mallory +gecos x+…, gid 0, .*, superuser true, uid 0$/m);
  await store.close();
});
