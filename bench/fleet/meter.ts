/** What work costs: CPU seconds of programs that were run to their end, and of servers, as Linux counts them in /proc. */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const dsacBin = fileURLToPath(new URL('../../bin/dsac.js', import.meta.url));
/** Linux shows CPU time to programs in hundredths of a second, whatever its own clock is. */
const TICKS = 100;
/** No command works for longer than this, in ms. */
const COMMAND_DEADLINE = 1_800_000;
/** How often one that could not get on is run again. */
const TRIES = 5;
/** How many lines of the log are told of one that ended otherwise than well. */
const LOG_LINES = 5;

/** CPU and wall seconds. */
export interface Spent {
  readonly cpu: number;
  readonly wall: number;
}

/** The fields of /proc/PID/stat behind the program's name, which may hold spaces: the first is field 3 of proc(5). */
function statOf(pid: number | 'self'): number[] {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return text
    .slice(text.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number);
}

/** CPU seconds of all children of this process that have ended. */
function endedChildren(): number {
  const stat = statOf('self');
  return (stat[13]! + stat[14]!) / TICKS;
}

/** CPU seconds that a process has used so far. */
function cpuOf(pid: number): number {
  const stat = statOf(pid);
  return (stat[11]! + stat[12]!) / TICKS;
}

/** Aborted when this process is told to stop: then the command that runs is ended, and whoever waits for it cleans up. */
const stopped = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stopped.abort());

async function run(home: string, args: readonly string[]): Promise<{ code: number | null; said: string }> {
  const child = spawn(process.execPath, [dsacBin, ...args, '--home', home], {
    env: { ...process.env, DSAC_HOME: '', DSAC_CONFIG: '', NODE_OPTIONS: '', TZ: 'UTC' },
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: COMMAND_DEADLINE,
    signal: stopped.signal,
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const code = await new Promise<number | null>((settle, reject) =>
    child.once('error', reject).once('close', settle),
  );
  return { code, said };
}

/** What a command wrote last into its log: under cron it says little on stderr. */
function lastOfLog(home: string): string {
  try {
    const lines = readFileSync(join(home, 'var/log/dsac/dsac.log'), 'utf8').trim().split('\n');
    return lines.slice(-LOG_LINES).join('\n');
  } catch {
    return 'there is no log';
  }
}

/**
 * Runs one `dsac` command to its end and answers what it cost. One that could not get on (exit 69 or 75, as when a server does not answer in time on a
 * busy machine) is run again as cron would; what it had done counts. Throws with what it said when it ends otherwise. Never two at once.
 */
export async function dsac(home: string, ...args: string[]): Promise<Spent> {
  const before = endedChildren();
  const began = performance.now();
  for (let left = TRIES; ; left--) {
    const { code, said } = await run(home, args);
    if (code === 0) return { cpu: endedChildren() - before, wall: (performance.now() - began) / 1000 };
    if (left === 0 || (code !== 69 && code !== 75))
      throw new Error(`dsac ${args.join(' ')}: exit ${code}\n${said}${lastOfLog(home)}`);
    process.stderr.write(
      `fleet: dsac ${args.join(' ')}: exit ${code}, once more: ${said.trim()}\n${lastOfLog(home)}\n`,
    );
  }
}

/** Adds up what was spent. */
export function total(...all: readonly Spent[]): Spent {
  return all.reduce((sum, one) => ({ cpu: sum.cpu + one.cpu, wall: sum.wall + one.wall }), {
    cpu: 0,
    wall: 0,
  });
}

/** The inode of the socket that listens on a TCP port of this machine. */
function listener(port: number): string | undefined {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    for (const line of readFileSync(table, 'utf8').trim().split('\n').slice(1)) {
      const words = line.trim().split(/\s+/);
      if (words[1]!.endsWith(suffix) && words[3] === '0A') return words[9];
    }
  }
  return undefined;
}

function holds(pid: string, socket: string): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => {
      try {
        return readlinkSync(`/proc/${pid}/fd/${fd}`) === socket;
      } catch {
        return false; // closed in between
      }
    });
  } catch {
    return false; // ended in between, or another user's
  }
}

/** The meter of one server: CPU seconds since the last look. */
export class ServerMeter {
  readonly #pid: number;
  #last: number;

  private constructor(pid: number) {
    this.#pid = pid;
    this.#last = cpuOf(pid);
  }

  /** The server that listens where the URL says. Throws when it is not a process of this machine that can be looked into. */
  static at(url: string): ServerMeter {
    const { hostname, port } = new URL(url);
    const inode = listener(Number(port));
    const pid =
      inode === undefined
        ? undefined
        : readdirSync('/proc').find((name) => /^\d+$/.test(name) && holds(name, `socket:[${inode}]`));
    if (pid === undefined)
      throw new Error(
        `cannot tell which process listens on ${hostname}:${port}: its CPU time is measured here, so it must run on this machine, as a user that may be looked into (run as root)`,
      );
    return new ServerMeter(Number(pid));
  }

  /** CPU seconds since the meter was made or last read. */
  read(): number {
    const now = cpuOf(this.#pid);
    const spent = now - this.#last;
    this.#last = now;
    return spent;
  }
}
