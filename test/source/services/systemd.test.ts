import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Properties, parseShow } from '../../../src/source/services/systemctl.ts';
import { mergeUnits, type Unit } from '../../../src/source/services/systemd.ts';
import { fixtures } from '../../helpers/tree.ts';

async function shown(fixture: string): Promise<Properties[]> {
  const bytes = readFileSync(join(fixtures, 'systemd', fixture), 'latin1');
  return parseShow(bytes.split('\n').map((line) => Buffer.from(line, 'latin1')));
}

/** The one unit told of `properties`, or undefined. */
function unitOf(properties: Properties, ...others: Properties[]): Unit | undefined {
  const all = mergeUnits(
    [{ LoadState: 'loaded', ActiveState: 'inactive', ...properties }, ...others],
    new Map(),
  );
  return [...all].find(({ unit }) => unit === properties.Id);
}

test('units in every state are told as systemd 252 shows them', async () => {
  const units = [...mergeUnits(await shown('lab12.show-dsac-all.txt'), new Map())];
  const golden = join(fixtures, '../golden/services-lab12.json');
  assert.deepEqual(JSON.parse(JSON.stringify(units)), JSON.parse(readFileSync(golden, 'utf8')));
});

test('no secret of Environment= or a command line is told, even when it was shown', async () => {
  const units = [...mergeUnits(await shown('lab12.show-selected.txt'), new Map())];
  assert.ok(units.some(({ unit }) => unit === 'dsac-ok.service'));
  assert.doesNotMatch(JSON.stringify(units), /s3cr3t|argv|TOKEN/);
});

test('a unit that is only referred to, but does not exist, is none', async () => {
  const units = [...mergeUnits(await shown('lab12.show-selected.txt'), new Map())];
  assert.deepEqual(
    units.filter(({ unit }) => unit === 'no-such-unit.service'),
    [],
  );
});

test('a unit whose file is gone while it runs is still told', () => {
  const unit = unitOf({ Id: 'gone.service', LoadState: 'not-found', ActiveState: 'active' });
  assert.equal(unit?.load, 'not-found');
});

test('an alias is not a second unit, loaded or not', () => {
  const files = new Map([
    ['ssh.service', 'enabled'],
    ['sshd.service', 'enabled'],
    ['dbus-org.x.service', 'alias'],
  ]);
  const loaded = [{ Id: 'ssh.service', Names: 'ssh.service sshd.service', ActiveState: 'active' }];
  assert.deepEqual(
    Array.from(mergeUnits(loaded, files), ({ unit }) => unit),
    ['ssh.service'],
  );
});

test('a unit that is not loaded looks like one at rest that is, so that looking at it changes nothing', () => {
  const [unloaded] = mergeUnits([], new Map([['x.service', 'disabled']]));
  const loaded = unitOf({
    Id: 'x.service',
    SubState: 'dead',
    UnitFileState: 'disabled',
    FragmentPath: '/etc/systemd/system/x.service',
  });
  assert.deepEqual(JSON.parse(JSON.stringify(loaded)), JSON.parse(JSON.stringify(unloaded)));
});

test('where systemd does not run nothing is said about running', () => {
  assert.deepEqual(
    [...mergeUnits(undefined, new Map([['x.service', 'enabled']]))],
    [{ unit: 'x.service', enabled: 'enabled' }],
  );
});

test('units of sessions, transient units and connections are left out', () => {
  const up = { ActiveState: 'active' };
  assert.equal(unitOf({ Id: 'user@1000.service', ...up }), undefined);
  assert.equal(unitOf({ Id: 'run-r1f.service', Transient: 'yes', ...up }), undefined);
  const socket = { Id: 'ssh.socket', Accept: 'yes' };
  assert.equal(unitOf({ Id: 'ssh@7-10.0.0.1:22-10.0.0.9:4711.service', ...up }, socket), undefined);
  assert.ok(unitOf({ Id: 'ssh@7-backdoor.service', ...up }), 'no socket: somebody started it');
  assert.ok(unitOf({ Id: 'postgresql@15-main.service', ...up }, socket));
});

test('what runs now and then is at rest while it runs, and failed when it failed', () => {
  const once = { Id: 'logrotate.service', Type: 'oneshot', RemainAfterExit: 'no', InvocationID: 'aa' };
  const resting = unitOf({ ...once, SubState: 'dead', InactiveEnterTimestamp: '@1795402338' });
  assert.equal(resting?.since, undefined);
  assert.deepEqual(unitOf({ ...once, ActiveState: 'activating', SubState: 'start' }), resting);
  const failing = { ...once, ActiveState: 'failed', SubState: 'failed', Result: 'exit-code' };
  const failed = unitOf({ ...failing, InactiveEnterTimestamp: 'Tue 2026-11-24 03:41:13 UTC' });
  assert.deepEqual([failed?.active, failed?.result], ['failed', 'exit-code']);
  // so that a run that failed is told with its own time, and so is the next that does
  assert.equal(failed?.since, '2026-11-24T03:41:13.000Z');
});

test('a service that is wanted is no errand, though a path may start it too', () => {
  const cups = { Id: 'cups.service', TriggeredBy: 'cups.path cups.socket', ActiveState: 'active' };
  assert.equal(unitOf({ ...cups, WantedBy: 'multi-user.target' })?.active, 'active');
  assert.equal(unitOf(cups)?.active, 'inactive');
});

test('a reload or a triggered socket does not look like another state', () => {
  const reloading = unitOf({ Id: 'x.service', ActiveState: 'reloading', SubState: 'reload' });
  assert.deepEqual([reloading?.active, reloading?.sub], ['active', 'running']);
  const socket = { Id: 'x.socket', ActiveState: 'active' };
  assert.deepEqual(unitOf({ ...socket, SubState: 'listening' }), unitOf({ ...socket, SubState: 'running' }));
});
