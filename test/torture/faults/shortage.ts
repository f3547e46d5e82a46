/** What a process may lack: file descriptors, a file system that can be written, the directories that it had. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { projectRoot } from '../../../src/config/project.ts';
import { type Fault, randomFrom, type Scope, type Tally } from '../fault.ts';
import { lacksMount, mountTmpfs, sh } from '../mounts.ts';
import { type Trial, tryEach } from '../trials.ts';
import { DIRECTORY, type Step, World } from '../world.ts';

/** From fewer descriptors than Node itself can start with (those are passed over), to enough. */
const DESCRIPTORS = [18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 32, 34, 36, 40];
const QUICK_DESCRIPTORS = [24];
const REMOUNTS = 20;

async function worldIn(scope: Scope, name: string): Promise<World> {
  const folder = join(scope.scratch, name);
  mkdirSync(folder, { recursive: true });
  return World.make(folder, DIRECTORY);
}

async function descriptors(scope: Scope): Promise<Tally> {
  const world = await worldIn(scope, 'descriptors');
  const enough = (scope.quick ? QUICK_DESCRIPTORS : DESCRIPTORS).filter(nodeStartsWith);
  const trials = enough.map(
    (most): Trial =>
      (step) =>
        world.step(step, ['prlimit', `--nofile=${most}`]),
  );
  return tryEach('EMFILE: few file descriptors', world, trials);
}

/** Whether Node itself starts with this many descriptors: with fewer it dies of a segmentation fault, or cannot read the file to run (here one that only exports). */
function nodeStartsWith(most: number): boolean {
  const command = [`--nofile=${most}`, process.execPath, join(projectRoot, 'bin/start.js')];
  return spawnSync('prlimit', command, { stdio: 'ignore' }).status === 0;
}

/** Makes a file system read-only while a command runs, as soon as no file on it is being written. */
async function remount(path: string, ms: number): Promise<void> {
  await sleep(ms);
  for (let attempt = 0; attempt < 200; attempt++) {
    try {
      sh('mount', '-o', 'remount,ro', path);
      return;
    } catch {
      await sleep(1);
    }
  }
}

async function readOnly(scope: Scope): Promise<Tally> {
  const home = join(scope.scratch, 'read-only/home');
  mountTmpfs(scope, home, 'size=64m');
  const world = await worldIn(scope, 'read-only');
  const random = randomFrom(scope.seed);
  const trials: Trial[] = Array.from({ length: scope.quick ? 1 : REMOUNTS }, () => async (step) => {
    const remounted = remount(home, random() * 600);
    const ran = await world.step(step);
    await remounted;
    sh('mount', '-o', 'remount,rw', home);
    return ran;
  });
  return tryEach('read-only remount in mid-run', world, trials);
}

/** Puts everything below `from` into `to`, where it is not yet. */
function merge(from: string, to: string): void {
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const [here, there] = [join(from, entry.name), join(to, entry.name)];
    if (!existsSync(there)) renameSync(here, there);
    else if (entry.isDirectory()) merge(here, there);
  }
}

/** Brings back a directory that had been moved away, with what was written to one of its name meanwhile. */
function bringBack(away: string, path: string): void {
  if (existsSync(path)) {
    merge(path, away);
    rmSync(path, { recursive: true });
  }
  renameSync(away, path);
}

const SPOOL = 'var/spool/dsac';
const VANISHING = [
  'out',
  'out/new',
  'out/tmp',
  'out/queue',
  'in',
  'in/new',
  'in/tmp',
  'in/queue',
  'in/corrupt',
];

/** A directory is moved away while a command runs, as when its file system is taken, and comes back with all that was in it. */
async function vanishing(scope: Scope): Promise<Tally> {
  const world = await worldIn(scope, 'vanishing');
  const random = randomFrom(scope.seed);
  const chosen = scope.quick ? ['out/new', 'in'] : VANISHING.flatMap((name) => [name, name, name]);
  const trials: Trial[] = chosen.map((name, index) => async (step: Step) => {
    const path = join(world.home, SPOOL, name);
    const away = `${path}.away`;
    const vanish = async (): Promise<void> => {
      await sleep(index % 3 === 0 ? 0 : random() * 500);
      renameSync(path, away);
    };
    const vanished = vanish();
    if (index % 3 === 0) await vanished;
    const ran = await world.step(step);
    await vanished;
    bringBack(away, path);
    return ran;
  });
  return tryEach('a directory of the spool vanishes', world, trials);
}

export default {
  name: 'shortage',
  promises: 'P1 P2 P5',
  summary:
    'without file descriptors, on a read-only file system or without its directories a command says so, and loses nothing',
  leftOut: lacksMount,
  run: async (scope) => [await descriptors(scope), await readOnly(scope), await vanishing(scope)],
} satisfies Fault as Fault;
