import assert from 'node:assert/strict';
import test from 'node:test';
import services from '../../reports/services.ts';
import { reportConformance, reportRows } from '../suites/report.ts';
import { changed, changes, HOSTILE } from './nodes.ts';

const running = { unit: 'nginx.service', active: 'active', sub: 'running', enabled: 'enabled' };
const stopped = { ...running, active: 'inactive', sub: 'dead' };

const day = () => [
  changes('services', '02:00', [
    changed('systemd/nginx.service', 'stopped', running, stopped),
    changed('systemd/nginx.service', 'disabled', stopped, { ...stopped, enabled: 'disabled' }),
    changed('systemd/evil.service', 'added', undefined, { unit: HOSTILE, active: HOSTILE, sub: HOSTILE }),
    changed('systemd/nginx.service', 'changed', stopped, { ...stopped, result: 'exit-code' }),
    changed('sysv/ssh', 'enabled', { enabled: 'disabled' }, { enabled: 'enabled' }),
  ]),
];

reportConformance(services, day);

test('from and to are states in the words that belong to the action', async () => {
  const rows = await reportRows(services, day());
  const short = rows.map(({ unit, action, from, to }) => [unit, action, from, to]);
  assert.deepEqual(
    short.filter(([, action]) => action !== 'added'),
    [
      ['nginx.service', 'stopped', 'active (running)', 'inactive (dead)'],
      ['nginx.service', 'disabled', 'enabled', 'disabled'],
      ['nginx.service', 'changed', null, 'result: – → exit-code'],
      ['ssh', 'enabled', 'disabled', 'enabled'],
    ],
  );
});
