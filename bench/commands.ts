/** Runs commands to their end and measures them from outside, the built `dsac` among them. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pathsBelow } from '../src/config/paths.ts';
import { init } from '../src/run/init.ts';
import { install } from '../test/helpers/apt.ts';
import { installed } from '../test/helpers/private-services.ts';
import type { Scope } from './bench.ts';

export type Command = readonly [program: string, ...args: string[]];

const dsacBin = fileURLToPath(new URL('../bin/dsac.js', import.meta.url));
/** No command may take longer, in ms. */
const DEADLINE = 600_000;

/** A process of the same Node that does nothing. */
export const BARE_NODE: Command = [process.execPath, '-e', '0'];

export function dsac(...args: string[]): Command {
  return [process.execPath, dsacBin, ...args];
}

interface Ended {
  readonly ms: number;
  readonly stderr: string;
}

/** Runs a command and answers its time by the wall and what it said on stderr. Throws when it ends otherwise than with one of these codes. */
function run([program, ...args]: Command, codes: readonly number[] = [0]): Ended {
  const before = performance.now();
  const { status, signal, stderr, error } = spawnSync(program, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: DEADLINE,
    env: { ...process.env, DSAC_HOME: '', DSAC_CONFIG: '', NODE_OPTIONS: '', TZ: 'UTC', LC_ALL: 'C.UTF-8' },
  });
  const ms = performance.now() - before;
  if (status === null || !codes.includes(status))
    throw new Error(
      `${[program, ...args].join(' ')}: exit ${status ?? signal} after ${ms.toFixed(0)} ms: ${stderr}`,
      { cause: error },
    );
  return { ms, stderr };
}

/** The time by the wall that a command takes, in ms; it must end with one of these codes. */
export function wallMs(command: Command, codes: readonly number[] = [0]): number {
  return run(command, codes).ms;
}

/** The CPU time that a command and all that it starts take, in seconds. */
export function cpuSeconds(command: Command): number {
  const { stderr } = run(['bash', '-c', 'TIMEFORMAT="%3U %3S"; time "$@"', 'bash', ...command]);
  const times = /([\d.]+) ([\d.]+)\s*$/.exec(stderr);
  if (!times) throw new Error(`bash says no times: ${stderr}`);
  return Number(times[1]) + Number(times[2]);
}

/** The time by the wall that a command takes, and the most memory that it had resident (getrusage(2), ru_maxrss). */
export function costOf(command: Command): { readonly ms: number; readonly mib: number } {
  const { ms, stderr } = run(['/usr/bin/time', '-f', '%M', ...command]);
  return { ms, mib: Number(stderr.trim().split('\n').at(-1)) / 1024 };
}

/** The most memory that a command had resident, in MiB. */
export function peakMiB(command: Command): number {
  return costOf(command).mib;
}

/** Makes an installation below the scope's folder, with this configuration when one is given; answers its home. */
export async function home({ scratch }: Pick<Scope, 'scratch'>, name: string, config = ''): Promise<string> {
  const path = join(scratch, name);
  mkdirSync(join(path, 'etc/dsac'), { recursive: true });
  if (config !== '') writeFileSync(join(path, 'etc/dsac/dsac.yaml'), config);
  await init(pathsBelow(path), 'all');
  return path;
}

/** Sees to it that a program of a Debian package is there. Answers why it is not, or undefined. The quick form installs nothing. */
export function lacks(
  { quick, log }: Pick<Scope, 'quick' | 'log'>,
  program: string,
  packages: readonly string[] = [program],
): string | undefined {
  if (installed(program) !== undefined) return undefined;
  if (quick) return `${program} is not installed`;
  log(`installing ${packages.join(' ')}`);
  const failed = install(packages);
  return installed(program) === undefined ? (failed ?? `${program} is not installed`) : undefined;
}
