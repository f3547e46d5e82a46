/** Power cut under a real ext4: the image as the block device has it at some moment is what the machine starts again with. */
import { constants, copyFileSync, mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startDsac } from '../command.ts';
import { type Fault, randomFrom, type Scope, type Tally } from '../fault.ts';
import { lacksLoop, makeExt4, mountImage, unmount } from '../mounts.ts';
import { DIRECTORY, World } from '../world.ts';

const IMAGE_BYTES = 96 * 1024 * 1024;
const CUTS = 60;
const QUICK_CUTS = 3;
/** A command is cut somewhere in its first so many milliseconds, or when it has ended by then. */
const WITHIN = 900;

/** Lets a command run for a while, stops it where it is, copies what the device has, and ends it. */
async function cutIn(args: readonly string[], ms: number, copy: () => void): Promise<void> {
  const child = startDsac(args);
  for (const stream of [child.stdout, child.stderr]) stream!.resume();
  const ended = new Promise<void>((settle) => child.once('close', () => settle()));
  await Promise.race([ended, sleep(ms)]);
  const runs = child.exitCode === null && child.signalCode === null;
  if (runs) process.kill(-child.pid!, 'SIGSTOP');
  copy();
  if (runs) process.kill(-child.pid!, 'SIGKILL');
  await ended;
}

async function cuts(scope: Scope): Promise<Tally> {
  const home = join(scope.scratch, 'home');
  const image = join(scope.scratch, 'disk.img');
  const copy = `${image}.cut`;
  mkdirSync(home);
  makeExt4(image, IMAGE_BYTES);
  mountImage(image, home);
  scope.defer(() => unmount(home));
  const world = await World.make(scope.scratch, DIRECTORY);
  const random = randomFrom(scope.seed);
  const problems: string[] = [];
  const most = scope.quick ? QUICK_CUTS : CUTS;
  for (let tried = 0; tried < most; tried++) {
    world.change();
    const last = Math.floor(random() * world.way.steps.length);
    for (const step of world.way.steps.slice(0, last)) await world.step(step);
    await cutIn(world.args(world.way.steps[last]!), random() * WITHIN, () =>
      copyFileSync(image, copy, constants.COPYFILE_FICLONE),
    );
    unmount(home);
    renameSync(copy, image);
    mountImage(image, home);
  }
  problems.push(...(await world.settle()));
  const account = await world.account();
  return {
    fault: 'power cut, ext4',
    tried: most,
    detected: null,
    ...account,
    problems: [...problems, ...account.problems],
  };
}

export default {
  name: 'power-cut',
  promises: 'P1 P2 P3',
  summary: 'a power cut under ext4 loses nothing that was committed, and the next run goes on',
  leftOut: lacksLoop,
  run: async (scope) => [await cuts(scope)],
} satisfies Fault as Fault;
