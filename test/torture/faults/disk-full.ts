/** A small file system that fills up: so many bytes or inodes are left when a command starts, fewer than it needs or just enough. */
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { errorCode } from '../../../src/errors.ts';
import type { Fault, Scope, Tally } from '../fault.ts';
import { lacksMount, mountTmpfs } from '../mounts.ts';
import { type Trial, tryEach } from '../trials.ts';
import { DIRECTORY, World } from '../world.ts';

const PAGE = 4096;
/** Pages, or inodes, left to a command. */
const LEFT = [0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 64, 80, 100, 128];
const QUICK_LEFT = [1, 8];

/** Does `work` until there is no space; answers how often it could be done. */
function untilFull(work: (nth: number) => void): number {
  for (let nth = 0; ; nth++) {
    try {
      work(nth);
    } catch (error) {
      if (errorCode(error) === 'ENOSPC') return nth;
      throw error;
    }
  }
}

/** Takes all but `left` pages; answers how to give them back. */
function takePages(home: string, left: number): () => void {
  const filler = join(home, 'filler');
  const file = openSync(filler, 'w');
  const pages = untilFull(() => writeSync(file, Buffer.alloc(PAGE)));
  closeSync(file);
  rmSync(filler);
  const again = openSync(filler, 'w');
  for (let page = 0; page < pages - left; page++) writeSync(again, Buffer.alloc(PAGE));
  closeSync(again);
  return () => rmSync(filler);
}

/** Takes all but `left` inodes. */
function takeInodes(home: string, left: number): () => void {
  const folder = join(home, 'fillers');
  mkdirSync(folder);
  const nameOf = (nth: number): string => join(folder, String(nth));
  const made = untilFull((nth) => closeSync(openSync(nameOf(nth), 'wx')));
  for (let nth = Math.max(0, made - left); nth < made; nth++) rmSync(nameOf(nth));
  return () => rmSync(folder, { recursive: true });
}

async function full(
  scope: Scope,
  what: string,
  options: string,
  take: (home: string, left: number) => () => void,
): Promise<Tally> {
  const folder = join(scope.scratch, what);
  const home = join(folder, 'home');
  mountTmpfs(scope, home, options);
  const world = await World.make(folder, DIRECTORY);
  const trials: Trial[] = (scope.quick ? QUICK_LEFT : LEFT).map((left) => async (step) => {
    const giveBack = take(home, left);
    try {
      return await world.step(step);
    } finally {
      giveBack();
    }
  });
  return tryEach(`no ${what} left`, world, trials);
}

export default {
  name: 'disk-full',
  promises: 'P1 P2 P5',
  summary: 'a full disk stops a command before anything is lost, and once there is room it goes on',
  leftOut: lacksMount,
  run: async (scope) => [
    await full(scope, 'bytes', 'size=16m', takePages),
    await full(scope, 'inodes', 'size=64m,nr_inodes=400', takeInodes),
  ],
} satisfies Fault as Fault;
