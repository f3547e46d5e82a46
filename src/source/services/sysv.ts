/**
 * Reads System V init: scripts in /etc/init.d and the links to them in /etc/rc?.d. Whether one runs, only the script itself
 * could say, and running it is not an observer's business: the state is left out.
 */
import { join } from 'node:path';
import type { System } from '../../host/system.ts';
import { UNIT_DIRECTORIES } from './init.ts';

const SCRIPTS = '/etc/init.d';
const RUNLEVELS = ['S', '0', '1', '2', '3', '4', '5', '6'] as const;
/** Runlevels in which a machine works; S, 0, 1 and 6 start or end it. */
const WORKING = /^[2-5S]$/;
/** What is in /etc/init.d but no service: what package managers and editors leave, and init's own parts. */
const NO_SERVICE =
  /^\.|~$|\.(?:dpkg-|ucf-|rpm|apk-)[a-z]+$|^(?:README|skeleton|functions|functions\.sh|rc|rcS|rc\.local|halt|reboot|killall|single)$/;

/** A service with an init script. */
export interface SysvService {
  readonly unit: string;
  readonly enabled: 'enabled' | 'disabled';
  /** Runlevels that start it, sorted. */
  readonly runlevels: string[];
  readonly fragment: string;
}

/** Names of the init scripts, sorted; undefined when there is no folder for them. */
export async function initScripts(system: System): Promise<string[] | undefined> {
  const names = await system.list(SCRIPTS);
  const scripts: string[] = [];
  for (const name of names ?? []) {
    if (!NO_SERVICE.test(name) && (await system.stat(join(SCRIPTS, name)))?.isFile()) scripts.push(name);
  }
  return names && scripts;
}

/** The runlevels in which each script is started: `/etc/rc3.d/S20ssh` starts `ssh` in 3. */
async function startedIn(system: System): Promise<Map<string, string[]>> {
  const levels = new Map<string, string[]>();
  for (const level of RUNLEVELS) {
    for (const link of (await system.list(`/etc/rc${level}.d`)) ?? []) {
      const name = /^S\d\d(.+)$/.exec(link)?.[1];
      if (name !== undefined) levels.set(name, [...(levels.get(name) ?? []), level]);
    }
  }
  return levels;
}

/** Names that a unit file covers: systemd looks at no script of the same name. */
async function coveredByUnits(system: System): Promise<Set<string>> {
  const covered = new Set<string>();
  for (const directory of UNIT_DIRECTORIES) {
    for (const file of (await system.list(directory)) ?? []) {
      if (file.endsWith('.service')) covered.add(file.slice(0, -'.service'.length));
    }
  }
  return covered;
}

/** Every service with an init script; beside systemd only those that no unit file covers. Undefined when there is no /etc/init.d. */
export async function sysvServices(
  system: System,
  besideSystemd: boolean,
): Promise<SysvService[] | undefined> {
  const scripts = await initScripts(system);
  if (scripts === undefined) return undefined;
  const levels = await startedIn(system);
  const covered = besideSystemd ? await coveredByUnits(system) : new Set<string>();
  return scripts
    .filter((unit) => !covered.has(unit.replace(/\.sh$/, '')))
    .map((unit) => {
      const runlevels = [...new Set(levels.get(unit))].sort();
      const isEnabled = runlevels.some((level) => WORKING.test(level));
      return { unit, enabled: isEnabled ? 'enabled' : 'disabled', runlevels, fragment: join(SCRIPTS, unit) };
    });
}
