/**
 * Reads OpenRC's own record of its services: scripts in /etc/init.d, a link per service in /etc/runlevels/<level> and, while it
 * runs, in /run/openrc/<state>. rc-status prints the same for people; only it knows whether a started daemon is still there.
 */
import { join } from 'node:path';
import type { System } from '../../host/system.ts';
import { text } from '../../host/text.ts';
import { initScripts } from './sysv.ts';

const RUNLEVELS = '/etc/runlevels';
/** Where the states are, the newest place first. */
const STATE_DIRECTORIES = ['/run/openrc', '/lib/rc/init.d', '/libexec/rc/init.d'];

/** States with a link, the one that counts first, and systemd's word for each. `inactive` waits for something, as for a network. */
const STATES = {
  stopping: 'deactivating',
  starting: 'activating',
  inactive: 'activating',
  started: 'active',
  failed: 'failed',
} as const;

/** OpenRC's state of a service and when it came to it. */
interface State {
  readonly active: string;
  readonly sub: string;
  readonly since?: string | undefined;
}

/** An OpenRC service; the fields of its state are absent while OpenRC does not run. */
export interface OpenRcService extends Partial<State> {
  readonly unit: string;
  readonly enabled: 'enabled' | 'disabled';
  /** Runlevels that start it, sorted. */
  readonly runlevels: string[];
  readonly fragment: string;
}

async function runlevelsOf(system: System): Promise<Map<string, string[]>> {
  const levels = new Map<string, string[]>();
  for (const level of (await system.list(RUNLEVELS)) ?? []) {
    for (const name of (await system.list(join(RUNLEVELS, level))) ?? [])
      levels.set(name, [...(levels.get(name) ?? []), level]);
  }
  return levels;
}

/** The state of each service that has one (others are stopped), or undefined when OpenRC does not run. */
async function statesOf(system: System): Promise<Map<string, State> | undefined> {
  for (const directory of STATE_DIRECTORIES) {
    if ((await system.stat(join(directory, 'softlevel'))) === undefined) continue;
    const states = new Map<string, State>();
    for (const [sub, active] of Object.entries(STATES).reverse()) {
      for (const name of (await system.list(join(directory, sub))) ?? []) {
        const link = await system.lstat(join(directory, sub, name));
        states.set(name, { active, sub, since: link?.mtime.toISOString() });
      }
    }
    return states;
  }
  return undefined;
}

/** Started services whose daemon is gone. rc-status exits 1 when there are none; where it is missing, nothing is known of it. */
async function crashedServices(system: System, signal: AbortSignal): Promise<string[]> {
  const command = system.live ? await system.which('rc-status') : undefined;
  if (command === undefined) return [];
  const { stdout } = await system.run(command, ['--crashed'], { signal });
  return text(stdout)
    .split('\n')
    .map((line) => line.trim());
}

/** Every service that has an init script. */
export async function openRcServices(system: System, signal: AbortSignal): Promise<OpenRcService[]> {
  // OpenRC itself takes no script whose name ends in .sh for a service
  const scripts = ((await initScripts(system)) ?? []).filter((name) => !name.endsWith('.sh'));
  const levels = await runlevelsOf(system);
  const states = await statesOf(system);
  const crashed = new Set(states && (await crashedServices(system, signal)));
  return scripts.map((unit) => {
    const stopped = states && { active: 'inactive', sub: 'stopped' };
    const runlevels = levels.get(unit) ?? [];
    return {
      unit,
      ...(crashed.has(unit) ? { active: 'failed', sub: 'crashed' } : (states?.get(unit) ?? stopped)),
      enabled: runlevels.length > 0 ? 'enabled' : 'disabled',
      runlevels,
      fragment: `/etc/init.d/${unit}`,
    };
  });
}
