/**
 * Runs executables that the configuration names, and refuses those that someone else could have changed. A run always ends: by itself,
 * at its deadline, or when told to stop; and all processes that it started in its process group end with it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants, type Stats } from 'node:fs';
import { access, lstat, readlink } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { DsacError, errorCode } from '../errors.ts';
import { text } from '../source/text.ts';

const MAX_LINKS = 40;
const MAX_STDERR = 16 * 1024;
/** Between the polite signal and the one that cannot be refused, in ms. */
const KILL_AFTER = 2_000;
/** How long to wait for the rest of stderr after the end, in ms. */
const STDERR_GRACE = 500;

const GROUP_OR_OTHERS_WRITE = 0o022;
const STICKY = 0o1000;

function refuse(path: string, why: string, hint: string): never {
  throw new DsacError('config', `refusing to run ${path}: ${why}`, { hint });
}

function requireOwner(path: string, at: string, { uid }: Stats): void {
  const own = process.geteuid?.() ?? 0;
  if (uid === 0 || uid === own) return;
  const allowed = own === 0 ? 'root' : `root or uid ${own}`;
  refuse(
    path,
    `${at} is owned by uid ${uid}, not by ${allowed}`,
    `chown ${allowed === 'root' ? 'root' : own} ${at}`,
  );
}

function requireUnwritable(path: string, at: string, { mode }: Stats): void {
  if ((mode & GROUP_OR_OTHERS_WRITE) === 0) return;
  const octal = (mode & 0o7777).toString(8).padStart(4, '0');
  refuse(path, `${at} is writable by others than its owner (mode ${octal})`, `chmod go-w ${at}`);
}

async function lstatNamed(path: string, at: string): Promise<Stats> {
  try {
    return await lstat(at);
  } catch (error) {
    const why =
      errorCode(error) === 'ENOENT' ? 'does not exist' : `cannot be looked at (${errorCode(error)})`;
    throw new DsacError('config', `cannot run ${path}: ${at} ${why}`, { cause: error });
  }
}

/** A folder on the way: nobody else may replace what is in it. A sticky one (`/tmp`) will do, since there only a file's owner can. */
function requireSafeFolder(path: string, at: string, stats: Stats): void {
  if (!stats.isDirectory()) throw new DsacError('config', `cannot run ${path}: ${at} is not a folder`);
  requireOwner(path, at, stats);
  if ((stats.mode & STICKY) === 0) requireUnwritable(path, at, stats);
}

/** Walks to the real file, each symbolic link and each folder on the way checked. */
async function walk(path: string): Promise<string> {
  let here = '/';
  let links = 0;
  let todo = path.split('/').filter((part) => part !== '' && part !== '.');
  for (let part = todo.shift(); part !== undefined; part = todo.shift()) {
    const at = part === '..' ? dirname(here) : join(here, part);
    const stats = await lstatNamed(path, at);
    if (stats.isSymbolicLink()) {
      requireOwner(path, at, stats);
      if (++links > MAX_LINKS) throw new DsacError('config', `cannot run ${path}: too many symbolic links`);
      const target = await readlink(at);
      if (isAbsolute(target)) here = '/';
      todo = [...target.split('/').filter((step) => step !== '' && step !== '.'), ...todo];
      continue;
    }
    if (todo.length > 0) requireSafeFolder(path, at, stats);
    here = at;
  }
  return here;
}

/**
 * The real path of an executable that only root or the running user can change: the file and its own folder are writable by nobody
 * else, and neither is any folder above (sticky ones such as `/tmp` excepted). Throws `config` errors that say what to mend.
 */
export async function trustedExecutable(path: string): Promise<string> {
  if (!isAbsolute(path)) throw new DsacError('config', `command: expected an absolute path, found '${path}'`);
  const real = await walk(path);
  const file = await lstatNamed(path, real);
  if (!file.isFile()) throw new DsacError('config', `cannot run ${path}: ${real} is not a file`);
  requireOwner(path, real, file);
  requireUnwritable(path, real, file);
  requireUnwritable(path, dirname(real), await lstatNamed(path, dirname(real)));
  try {
    await access(real, constants.X_OK);
  } catch (error) {
    throw new DsacError('config', `cannot run ${path}: it is not executable`, {
      cause: error,
      hint: `chmod +x ${real}`,
    });
  }
  return real;
}

export interface ExecutableRun {
  /** Absolute path, then arguments. No shell is involved. */
  readonly command: readonly string[];
  /** What it reads on stdin. */
  readonly input?: Uint8Array;
  /** Beside this process' own environment. */
  readonly env?: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/** How a run ended. `timedOut` and `stopped` tell why it was killed; `stderr` is cut to 16 KiB. */
export interface ExecutableEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stderr: string;
  readonly timedOut: boolean;
  readonly stopped: boolean;
}

/** Sends a signal to the run's whole process group. */
function killGroup({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if (errorCode(error) !== 'ESRCH') throw error;
  }
}

function gather(stream: Readable): () => string {
  const chunks: Buffer[] = [];
  let length = 0;
  stream.on('data', (chunk: Buffer) => {
    if (length < MAX_STDERR) chunks.push(chunk.subarray(0, MAX_STDERR - length));
    length += chunk.length;
  });
  return () => text(Buffer.concat(chunks));
}

/**
 * Runs an executable to its end in a process group of its own, its standard output discarded; check the path with `trustedExecutable`
 * first. Rejects only when it cannot be started.
 */
export async function runExecutable(run: ExecutableRun): Promise<ExecutableEnd> {
  const [file = '', ...args] = run.command;
  const child = spawn(file, args, {
    cwd: '/',
    env: { ...process.env, ...run.env },
    stdio: ['pipe', 'ignore', 'pipe'],
    detached: true,
  });
  child.stdin.on('error', () => {}); // It need not read all of its input, or any.
  child.stdin.end(run.input ?? '');
  return watch(child, child.stderr, run);
}

async function watch(
  child: ChildProcess,
  stderr: Readable,
  { timeoutMs, signal }: ExecutableRun,
): Promise<ExecutableEnd> {
  const said = gather(stderr);
  const stderrEnd = once(stderr, 'close');
  const why = { timedOut: false, stopped: false };
  let kill: NodeJS.Timeout | undefined;
  const end = (reason: keyof typeof why): void => {
    why[reason] = true;
    killGroup(child, 'SIGTERM');
    kill ??= setTimeout(() => killGroup(child, 'SIGKILL'), KILL_AFTER);
  };
  const stop = (): void => end('stopped');
  const deadline = setTimeout(() => end('timedOut'), timeoutMs);
  signal?.addEventListener('abort', stop, { once: true });
  try {
    if (signal?.aborted) stop();
    const [code, killedBy] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
    killGroup(child, 'SIGKILL');
    await Promise.race([stderrEnd, sleep(STDERR_GRACE, undefined, { ref: false })]);
    stderr.destroy();
    return { code, signal: killedBy, stderr: said(), ...why };
  } finally {
    clearTimeout(deadline);
    clearTimeout(kill);
    signal?.removeEventListener('abort', stop);
  }
}
