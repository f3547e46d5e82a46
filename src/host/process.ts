/**
 * Runs other programs. A run always ends: by itself, at its deadline, or when told to stop; and all processes that it started in its
 * process group end with it.
 */
import { type ChildProcess, type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises';
import { errorCode } from '../errors.ts';
import { text } from './text.ts';

const MAX_STDERR = 16 * 1024;
/** Longest line of output, in bytes. */
const MAX_LINE = 16 * 1024 * 1024;
/** Between the polite signal and the one that cannot be refused, in ms. */
const KILL_AFTER = 2_000;
/** How long to wait after the end for the rest of what it wrote, in ms. */
const OUTPUT_GRACE = 500;
/** Most that a program may have written and nobody has read when it ends, in bytes: what a pipe or socket holds. */
const UNREAD = 1024 * 1024;

export interface ExecutableRun {
  /** Absolute path, then arguments. No shell is involved. */
  readonly command: readonly string[];
  /** What it reads on stdin. */
  readonly input?: Uint8Array | string;
  /** Beside this process' own environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Its deadline; none when left out. */
  readonly timeoutMs?: number;
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

/** A run under way. `stdout` must be read (`outputLines`) or discarded (`resume()`). `ended` rejects when it cannot be started. */
export interface Execution {
  readonly stdout: Readable;
  readonly ended: Promise<ExecutableEnd>;
}

/** Starts a program in a process group of its own. */
export function startExecutable(run: ExecutableRun): Execution {
  const [file = '', ...args] = run.command;
  const child = spawn(file, args, {
    cwd: '/',
    env: { ...process.env, ...run.env },
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
  });
  child.stdin.on('error', () => {}); // It need not read all of its input, or any.
  child.stdin.end(run.input ?? '');
  return { stdout: child.stdout, ended: watch(child, run) };
}

/** Runs a program to its end, its standard output discarded. Rejects only when it cannot be started. */
export async function runExecutable(run: ExecutableRun): Promise<ExecutableEnd> {
  const { stdout, ended } = startExecutable(run);
  stdout.resume();
  return ended;
}

/**
 * Ends the output of a program that has ended, once all that it wrote was read: what left its process group may hold the pipe open for ever, and write to it.
 * A reader that was held up may not have looked into the pipe for as long: it is empty when a turn of the loop, in which it is looked into, brings nothing.
 */
async function letGo(stdout: Socket): Promise<void> {
  const most = stdout.bytesRead + UNREAD;
  while (!stdout.destroyed) {
    await sleep(OUTPUT_GRACE, undefined, { ref: false });
    const [before, waiting] = [stdout.bytesRead, stdout.readableLength];
    await turn();
    await turn();
    const isEmpty = stdout.bytesRead === before && waiting === 0 && stdout.readableLength === 0;
    if (isEmpty || stdout.bytesRead - stdout.readableLength > most) stdout.destroy();
  }
}

async function watch(
  child: ChildProcessWithoutNullStreams,
  { timeoutMs, signal }: ExecutableRun,
): Promise<ExecutableEnd> {
  const { stderr, stdout } = child;
  const said = gather(stderr);
  const stderrEnd = once(stderr, 'close');
  const why = { timedOut: false, stopped: false };
  let kill: NodeJS.Timeout | undefined;
  const end = (reason: keyof typeof why): void => {
    why[reason] = true;
    killGroup(child, 'SIGTERM');
    kill ??= setTimeout(() => {
      killGroup(child, 'SIGKILL');
      stdout.destroy();
    }, KILL_AFTER);
  };
  const stop = (): void => end('stopped');
  const deadline = timeoutMs === undefined ? undefined : setTimeout(() => end('timedOut'), timeoutMs);
  signal?.addEventListener('abort', stop, { once: true });
  try {
    if (signal?.aborted) stop();
    const [code, killedBy] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
    killGroup(child, 'SIGKILL');
    void letGo(stdout as Socket);
    await Promise.race([stderrEnd, sleep(OUTPUT_GRACE, undefined, { ref: false })]);
    stderr.destroy();
    return { code, signal: killedBy, stderr: said(), ...why };
  } finally {
    clearTimeout(deadline);
    clearTimeout(kill);
    signal?.removeEventListener('abort', stop);
  }
}

/** Output up to its end, or to where it was let go: whether that was all, the run's own end tells. */
async function* chunks(stdout: Readable): AsyncGenerator<Buffer> {
  try {
    yield* stdout as AsyncIterable<Buffer>;
  } catch (error) {
    if (errorCode(error) !== 'ERR_STREAM_PREMATURE_CLOSE') throw error;
  }
}

/** Lines of a run's output as bytes, without their LF; a last line without one counts. */
export async function* outputLines(stdout: Readable): AsyncGenerator<Buffer> {
  let rest: Buffer[] = [];
  let length = 0;
  for await (const chunk of chunks(stdout)) {
    let at = 0;
    for (let lf = chunk.indexOf(0x0a); lf >= 0; lf = chunk.indexOf(0x0a, at)) {
      yield Buffer.concat([...rest, chunk.subarray(at, lf)]);
      [rest, length, at] = [[], 0, lf + 1];
    }
    rest.push(chunk.subarray(at));
    length += chunk.length - at;
    if (length > MAX_LINE) throw new Error(`a line of output over ${MAX_LINE} bytes`);
  }
  if (length > 0) yield Buffer.concat(rest);
}
