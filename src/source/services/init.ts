/** Which init system rules a machine or a tree: the one whose word counts when files of several are installed. */
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

async function isThere(system: System, ...paths: readonly string[]): Promise<boolean> {
  for (const path of paths) if ((await system.stat(path)) !== undefined) return true;
  return false;
}

/** Whether systemd is the running machine's process 1: the test of sd_booted(3). */
export async function isBootedWithSystemd(system: System): Promise<boolean> {
  return system.live && isThere(system, '/run/systemd/system');
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
