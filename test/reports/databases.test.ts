import assert from 'node:assert/strict';
import test from 'node:test';
import { loadPlugin, pluginNames } from '../../src/plugin/registry.ts';
import type { Batch } from '../../src/spool/batch.ts';
import { openStore } from '../../src/store/store.ts';
import { FakeNode } from '../helpers/batches.ts';
import { ownDatabase, servicesLeftOut } from '../helpers/services.ts';
import { at, receipt } from '../store/stores.ts';
import { reportText, storeWith } from '../suites/report.ts';
import { changed, changes, HOSTILE, log } from './nodes.ts';

/** One day of one node: something for every report. */
function day(id: string, host: string): Batch[] {
  const node = new FakeNode(id, host);
  const version = (text: string) => ({ version: text });
  const history = (source: string, clock: string) => ({
    time: at(clock),
    action: 'upgraded',
    item: 'dpkg/openssl/amd64',
    source,
    before: version('1'),
    after: version('2'),
    by: { user: 'alice', command: `apt upgrade ${HOSTILE}` },
  });
  const session = { item: 'session/1', source: 'wtmp', data: { user: 'ä'.repeat(40), tty: 'pts/0' } };
  const batches = [
    log('package-history', '02:00', [history('apt', '01:30'), history('dpkg', '01:31')], node),
    changes(
      'packages',
      '02:00',
      [changed('dpkg/openssl/amd64', 'upgraded', version('1'), version('2'))],
      node,
    ),
    changes(
      'services',
      '02:00',
      [changed('systemd/a.service', 'started', { active: 'inactive' }, { active: 'active' })],
      node,
    ),
    changes('users', '02:00', [changed('user/🦀', 'added', undefined, { uid: 0, gecos: HOSTILE })], node),
    log(
      'logins',
      '04:00',
      [
        { ...session, time: at('02:00'), action: 'login' },
        { ...session, time: at('03:00'), action: 'logout' },
      ],
      node,
    ),
  ];
  node.next('logins', 'log', [], { time: at('05:00') });
  batches.push(
    node.next('logins', 'log', [], { time: at('06:00') }),
    receipt(node, at('23:00'), 'logins', { seq: 5 }),
  );
  return batches;
}

test('every report says the same from SQLite and from MySQL', { skip: servicesLeftOut }, async (t) => {
  const batches = ['web1', 'Web1', 'web2'].flatMap((host, n) =>
    day(`0000000${n}-0000-4000-8000-000000000000`, host),
  );
  const sqlite = await storeWith(batches);
  const mysql = await openStore(await ownDatabase(t), { home: '/' });
  t.after(() => Promise.all([sqlite.close(), mysql.close()]));
  await mysql.load(batches);
  for (const name of pluginNames('reports')) {
    const report = await loadPlugin('reports', name);
    for (const nodes of [undefined, [batches[0]!.header.node]]) {
      const text = await reportText(mysql, report, 'json', { nodes });
      assert.equal(text, await reportText(sqlite, report, 'json', { nodes }));
      assert.ok(JSON.parse(text).rows.length > 0, `${name} has rows`);
    }
  }
});
