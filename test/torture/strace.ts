/** Breaks system calls of a real process from outside, with strace's injection (strace(1), -e inject). */
import { readFileSync } from 'node:fs';
import { installed } from '../helpers/private-services.ts';
import type { Wrapper } from './command.ts';

/** What a process changes files and networks with, as Node 24 calls it on Linux. */
export const CHANGING_CALLS = [
  'rename',
  'link',
  'unlink',
  'mkdir',
  'ftruncate',
  'fsync',
  'fdatasync',
  'pwrite64',
  'write',
  'writev',
  'connect',
  'shutdown',
] as const;

/** Why system calls cannot be broken here, or undefined. */
export function lacksStrace(): string | undefined {
  return installed('strace') === undefined ? 'strace is not installed' : undefined;
}

/**
 * A wrapper that does `what` (`signal=SIGKILL`, `error=EIO`) to the `nth` such call of a thread (`3`, or `3+` for all from there on), and writes
 * them into `file`. Files are worked on by one thread (`ONE_THREAD`), so that the nth call is the same in each run. Not with --seccomp-bpf:
 * strace 6.1 then miscounts.
 */
export function injecting(call: string, what: string, nth: string, file: string): Wrapper {
  return [
    'strace',
    '-f',
    '-qqq',
    '-o',
    file,
    '-e',
    `trace=${call}`,
    '-e',
    `inject=${call}:${what}:when=${nth}`,
  ];
}

/** A wrapper that writes each such call into `file`, a line each that begins with the thread's id. */
export function counting(calls: readonly string[], file: string): Wrapper {
  return ['strace', '-f', '-qqq', '-o', file, '-e', `trace=${calls.join(',')}`];
}

/** From a file that `counting` wrote: how many of each call the thread made that made most. */
export function mostCalls(file: string): Map<string, number> {
  const byThread = new Map<string, number>();
  for (const [, thread, call] of readFileSync(file, 'utf8').matchAll(/^(\d+) +(\w+)\(/gm))
    byThread.set(`${call} ${thread}`, (byThread.get(`${call} ${thread}`) ?? 0) + 1);
  const most = new Map<string, number>();
  for (const [key, count] of byThread) {
    const call = key.split(' ')[0]!;
    most.set(call, Math.max(count, most.get(call) ?? 0));
  }
  return most;
}

/** The environment in which calls can be counted: one thread for files, and no cache of compiled code that is written beside. */
export const ONE_THREAD = { UV_THREADPOOL_SIZE: '1', NODE_DISABLE_COMPILE_CACHE: '1' };
