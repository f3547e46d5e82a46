import assert from 'node:assert/strict';
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import services from '../../agents/services.ts';
import type { Item } from '../../src/plugin/agent.ts';
import { Bench } from '../helpers/bench.ts';
import { eventsBetween } from '../helpers/changes.ts';
import { collectItems } from '../helpers/sources.ts';
import { tree } from '../helpers/tree.ts';
import { agentConformance } from '../suites/agent.ts';

/** Makes symbolic links below `root`: path to target. */
function link(root: string, links: Readonly<Record<string, string>>): void {
  for (const [path, target] of Object.entries(links)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    symlinkSync(target, join(root, path));
  }
}

/** An Alpine-like machine: sshd runs, crond was stopped, syslog failed to start, ntpd is still starting. */
function openRcTree(t: TestContext): string {
  const names = ['sshd', 'crond', 'syslog', 'ntpd'];
  const scripts = names.map((name) => [`etc/init.d/${name}`, '#!/sbin/openrc-run\n']);
  const root = tree(t, {
    ...Object.fromEntries(scripts),
    'etc/init.d/functions.sh': '# not a service',
    'etc/init.d/sshd.apk-new': '# left by the package manager',
    'etc/inittab': '::sysinit:/sbin/openrc sysinit\n',
    'run/openrc/softlevel': 'default',
  });
  link(root, {
    'etc/runlevels/default/sshd': '/etc/init.d/sshd',
    'etc/runlevels/boot/syslog': '/etc/init.d/syslog',
    'etc/runlevels/default/syslog': '/etc/init.d/syslog',
    'etc/runlevels/default/gone': '/etc/init.d/gone',
    'run/openrc/started/sshd': '/etc/init.d/sshd',
    'run/openrc/failed/syslog': '/etc/init.d/syslog',
    'run/openrc/starting/ntpd': '/etc/init.d/ntpd',
    'run/openrc/started/ntpd': '/etc/init.d/ntpd',
  });
  return root;
}

function sysvTree(t: TestContext): string {
  const root = tree(t, {
    'etc/inittab': 'id:2:initdefault:\n',
    'etc/init.d/ssh': '#!/bin/sh\n',
    'etc/init.d/cron': '#!/bin/sh\n',
    'etc/init.d/README': 'not a service\n',
    'etc/init.d/ssh.dpkg-old': '#!/bin/sh\n',
    'etc/init.d/functions': '# not a service\n',
  });
  link(root, {
    'etc/rc2.d/S03ssh': '../init.d/ssh',
    'etc/rc5.d/S03ssh': '../init.d/ssh',
    'etc/rc2.d/K01cron': '../init.d/cron',
    'etc/rc0.d/S01cron': '../init.d/cron',
  });
  return root;
}

agentConformance(services, { tree: openRcTree });

test('OpenRC: each service has the state of its link and its runlevels; scripts that are none are left out', async (t) => {
  const { got, absent } = await collectItems(services, { root: openRcTree(t) });
  const told = got.openrc!.map(({ key, fields }) => [
    key,
    fields.active,
    fields.sub,
    fields.enabled,
    fields.runlevels,
  ]);
  assert.deepEqual(told, [
    ['openrc/crond', 'inactive', 'stopped', 'disabled', []],
    ['openrc/ntpd', 'activating', 'starting', 'disabled', []],
    ['openrc/sshd', 'active', 'started', 'enabled', ['default']],
    ['openrc/syslog', 'failed', 'failed', 'enabled', ['boot', 'default']],
  ]);
  assert.deepEqual(Object.keys(absent), ['systemd', 'sysv']);
});

test('OpenRC that does not run tells what is enabled, and nothing of states', async (t) => {
  const root = openRcTree(t);
  rmSync(join(root, 'run'), { recursive: true });
  const { got } = await collectItems(services, { root });
  assert.ok(got.openrc!.every(({ fields }) => fields.active === undefined && fields.since === undefined));
  assert.equal(got.openrc!.length, 4);
});

test('OpenRC: start, stop, enable and disable are told through the runner', async (t) => {
  const bench = new Bench(t);
  bench.rootfs = openRcTree(t);
  await bench.run(services);
  const before = bench.events('services').length;
  link(bench.rootfs, {
    'run/openrc/started/crond': '/etc/init.d/crond',
    'etc/runlevels/default/crond': '/etc/init.d/crond',
  });
  rmSync(join(bench.rootfs, 'run/openrc/started/sshd'));
  rmSync(join(bench.rootfs, 'etc/runlevels/default/sshd'));
  bench.later(300_000);
  await bench.run(services);
  const told = bench.events('services').slice(before);
  assert.deepEqual(
    told.map(({ item, action }) => `${item} ${action}`),
    ['openrc/crond enabled', 'openrc/crond started', 'openrc/sshd disabled', 'openrc/sshd stopped'],
  );
});

test('SysV: a script is enabled when a working runlevel starts it; kill links and runlevel 0 do not', async (t) => {
  const { got, absent } = await collectItems(services, { root: sysvTree(t) });
  assert.deepEqual(
    got.sysv!.map(({ key, fields }) => [key, fields.enabled, fields.runlevels, fields.active]),
    [
      ['sysv/cron', 'disabled', ['0'], undefined],
      ['sysv/ssh', 'enabled', ['2', '5'], undefined],
    ],
  );
  assert.deepEqual(Object.keys(absent), ['systemd', 'openrc']);
});

/** A Debian-like tree whose systemd does not run: units, and the init scripts that packages bring beside them. */
function systemdTree(t: TestContext): string {
  const install = '[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n';
  const root = tree(t, {
    'usr/lib/systemd/systemd': '',
    'usr/lib/systemd/system/ssh.service': `${install}Alias=sshd.service\n`,
    'usr/lib/systemd/system/cron.service': install,
    'usr/lib/systemd/system/plain.service': '[Service]\nExecStart=/bin/true\n',
    'usr/lib/systemd/system/tty@.service': install,
    'etc/init.d/ssh': '#!/bin/sh\n',
    'etc/init.d/hwclock.sh': '#!/bin/sh\n',
    'etc/init.d/legacy': '#!/bin/sh\n',
  });
  link(root, {
    'etc/systemd/system/multi-user.target.wants/ssh.service': '/usr/lib/systemd/system/ssh.service',
    'etc/systemd/system/sshd.service': '/usr/lib/systemd/system/ssh.service',
    'etc/systemd/system/hwclock.service': '/dev/null',
  });
  return root;
}

test('systemd that does not run: unit files tell what is enabled or masked; its scripts are no second services', async (t) => {
  const machine = new Bench(t);
  machine.rootfs = systemdTree(t);
  const { got, absent } = await collectItems(services, { root: machine.rootfs });
  if (absent.systemd !== undefined) return t.skip(`left out: ${absent.systemd}`);
  assert.deepEqual(got.systemd!.map(({ key, fields }) => `${key} ${fields.enabled}`).sort(), [
    'systemd/cron.service disabled',
    'systemd/hwclock.service masked',
    'systemd/plain.service static',
    'systemd/ssh.service enabled',
    'systemd/tty@.service disabled',
  ]);
  assert.deepEqual(
    got.sysv!.map(({ key }) => key),
    ['sysv/legacy'],
  );
});

test('systemctl that fails midway makes the source fail, so that no unit looks removed', async (t) => {
  const bench = new Bench(t);
  bench.rootfs = systemdTree(t);
  const bin = join(bench.rootfs, 'fake');
  mkdirSync(bin);
  writeFileSync(join(bin, 'systemctl'), '#!/bin/sh\necho "ssh.service enabled"\necho broken >&2\nexit 1\n', {
    mode: 0o755,
  });
  const path = process.env.PATH;
  process.env.PATH = `${bin}:${path}`;
  t.after(() => {
    process.env.PATH = path;
  });
  const { sources } = await bench.run(services);
  const systemd = sources.find(({ name }) => name === 'systemd');
  assert.equal(systemd?.status, 'failed');
  assert.match(systemd?.reason ?? '', /systemctl.*exit 1: broken/);
  assert.ok(!bench.events('services').some(({ source }) => source === 'systemd'));
});

type Fields = { unit: string; [field: string]: unknown };
const item = (fields: Omit<Fields, 'unit'>): Item<Fields>[] => [
  { key: 'systemd/x.service', fields: { unit: 'x.service', ...fields } },
];

/** Actions and times of what lies between two states of one unit. */
function told(before: Omit<Fields, 'unit'>, after: Omit<Fields, 'unit'>): string[] {
  return eventsBetween(services, 'systemd', item(before), item(after)).map(({ action }) => action);
}

const up = { active: 'active', invocation: 'a', since: '2026-11-24T01:00:00.000Z', enabled: 'enabled' };
const down = { active: 'inactive', since: '2026-11-24T02:00:00.000Z', enabled: 'enabled' };

test('a restart shows by its invocation, and by its start where systemd has no invocations', () => {
  assert.deepEqual(told(up, { ...up, invocation: 'b' }), ['restarted']);
  const old = { active: 'active', since: '2026-11-24T01:00:00.000Z' };
  assert.deepEqual(told(old, { ...old, since: '2026-11-24T01:05:00.000Z' }), ['restarted']);
});

test('a unit that ran between two looks, and one that failed again, are told', () => {
  assert.deepEqual(told(down, { ...down, since: '2026-11-24T03:00:00.000Z' }), ['ran']);
  const failed = { active: 'failed', since: '2026-11-24T02:00:00.000Z' };
  assert.deepEqual(told(failed, { ...failed, since: '2026-11-24T03:00:00.000Z' }), ['failed']);
});

test('a crash loop is told as restarts', () => {
  const waiting = { active: 'activating', sub: 'auto-restart', enabled: 'enabled' };
  assert.deepEqual(told({ ...waiting, restarts: 1 }, { ...waiting, restarts: 9 }), ['restarted']);
});

test('masked and stopped at once are two events, in that order, the stop with its own time', () => {
  const events = eventsBetween(services, 'systemd', item(up), item({ ...down, enabled: 'masked' }));
  assert.deepEqual(
    events.map(({ action, time }) => [action, time]),
    [
      ['masked', '2000-01-01T00:00:00.000Z'],
      ['stopped', '2026-11-24T02:00:00.000Z'],
    ],
  );
  assert.equal(events[0]?.after?.active, 'active');
});

test('an instance of a template that comes or goes is told by what makes it be there', () => {
  const instance = (fields: object) => [
    { key: 'systemd/x@a.service', fields: { unit: 'x@a.service', ...fields } },
  ];
  for (const [fields, came, went] of [
    [up, 'started', 'stopped'],
    [{ active: 'failed', enabled: 'enabled' }, 'failed', 'recovered'],
    [{ active: 'inactive', enabled: 'enabled' }, 'enabled', 'disabled'],
    [{ active: 'inactive', enabled: 'masked' }, 'masked', 'unmasked'],
    [{ enabled: 'masked-runtime' }, 'masked', 'unmasked'],
    [{ active: 'activating', enabled: 'disabled' }, 'added', 'removed'],
  ] as const) {
    const other = item(up);
    const actions = [
      eventsBetween(services, 'systemd', other, [...other, ...instance(fields)]),
      eventsBetween(services, 'systemd', [...other, ...instance(fields)], other),
    ].map((events) => events.map(({ action }) => action));
    assert.deepEqual(actions, [[came], [went]]);
  }
});

test('an override placed while the unit runs is told as a change', () => {
  assert.deepEqual(told(up, { ...up, dropins: ['/etc/systemd/system/x.service.d/a.conf'] }), ['changed']);
});

test('the time of an OpenRC start is that of its link', async (t) => {
  const root = openRcTree(t);
  const { got } = await collectItems(services, { root });
  const since = got.openrc!.find(({ fields }) => fields.unit === 'sshd')?.fields.since;
  assert.ok(Math.abs(Date.now() - Date.parse(since ?? '')) < 60_000, `${since}`);
});
