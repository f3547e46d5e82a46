/** Which init system rules a machine or a tree: the one whose word counts when files of several are installed. */
import { type Stamp, stamp } from '../../host/stamp.ts';
import type { System } from '../../host/system.ts';

export type Init = 'systemd' | 'openrc' | 'sysv';

/** Where unit files are, the first found of a name counts (systemd.unit(5)). */
export const UNIT_DIRECTORIES = [
  '/etc/systemd/system',
  '/run/systemd/system',
  '/usr/local/lib/systemd/system',
  '/usr/lib/systemd/system',
  '/lib/systemd/system',
] as const;

/** What tells which init system rules, and all that systemctl and System V init have of a machine that they do not run. */
const INIT_FILES: readonly string[] = [
  '/run/openrc/softlevel',
  '/etc/runlevels/*',
  '/etc/inittab',
  '/etc/init.d/*',
  ...['S', '0', '1', '2', '3', '4', '5', '6'].map((level) => `/etc/rc${level}.d/*`),
  '/usr/lib/systemd/systemd',
  '/lib/systemd/systemd',
  '/etc/systemd/**',
  '/run/systemd/**',
  ...UNIT_DIRECTORIES.map((directory) => `${directory}/**`),
];

async function isThere(system: System, ...paths: readonly string[]): Promise<boolean> {
  for (const path of paths) if ((await system.stat(path)) !== undefined) return true;
  return false;
}

/** Whether systemd is the running machine's process 1: the test of sd_booted(3). */
export async function isBootedWithSystemd(system: System): Promise<boolean> {
  return system.live && isThere(system, '/run/systemd/system');
}

/** Stamps all that services of a machine rest on where systemd does not run; undefined where it does, and knows more than files tell. */
export async function stampInit(system: System): Promise<Stamp | undefined> {
  return (await isBootedWithSystemd(system)) ? undefined : stamp(system, INIT_FILES);
}

/**
 * The init system that rules, or undefined when there is none. What runs comes first, then what is installed; unit files alone
 * come last but for init scripts, since packages bring both for inits that are not there.
 */
export async function initOf(system: System): Promise<Init | undefined> {
  if (await isBootedWithSystemd(system)) return 'systemd';
  if (await isThere(system, '/run/openrc/softlevel')) return 'openrc';
  if (await isThere(system, '/usr/lib/systemd/systemd', '/lib/systemd/systemd')) return 'systemd';
  if (await isThere(system, '/etc/runlevels')) return 'openrc';
  if (await isThere(system, '/etc/inittab')) return 'sysv';
  if (await isThere(system, ...UNIT_DIRECTORIES)) return 'systemd';
  return (await isThere(system, '/etc/init.d')) ? 'sysv' : undefined;
}
