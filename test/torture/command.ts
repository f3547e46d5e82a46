/** Runs the `dsac` that users run, in a process group of its own, so that a test may end it at any moment. */
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Ran } from '../helpers/dsac.ts';

const dsacBin = fileURLToPath(new URL('../../bin/dsac.js', import.meta.url));
/** No command of a torture test works for longer than this, in ms. */
const COMMAND_DEADLINE = 120_000;

/** What a command is run in: `['strace', …]`. */
export type Wrapper = readonly string[];

/** Starts a command, in a wrapper when one is given; its output is the caller's. */
export function startDsac(
  args: readonly string[],
  wrapper: Wrapper = [],
  env: Record<string, string> = {},
): ChildProcess {
  const line = [...wrapper, process.execPath, dsacBin, ...args];
  return spawn(line[0]!, line.slice(1), {
    env: { ...process.env, DSAC_HOME: '', DSAC_CONFIG: '', NODE_OPTIONS: '', TZ: 'UTC', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
}

/** Ends a command that runs and all that it has started, without a word. */
export function killCommand({ pid, exitCode, signalCode }: ChildProcess): void {
  if (pid === undefined || exitCode !== null || signalCode !== null) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // it has just ended by itself
  }
}

/** How a command ended. One that does not end is killed, and said so in its stderr. */
export async function ending(child: ChildProcess): Promise<Ran> {
  let [stdout, stderr] = ['', ''];
  child.stdout!.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const alarm = setTimeout(() => {
    stderr += `torture: killed after ${COMMAND_DEADLINE / 1000} s\n`;
    killCommand(child);
  }, COMMAND_DEADLINE);
  const code = await new Promise<number | null>((settle, reject) =>
    child.once('error', reject).once('close', settle),
  );
  clearTimeout(alarm);
  return { code, stdout, stderr };
}
