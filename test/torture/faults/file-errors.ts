/** Calls on files that fail: fsync with EIO; no space, or a read-only file system, from some call on. */
import { type Fault, randomFrom } from '../fault.ts';
import { breakAlong, type Injection } from '../points.ts';
import { lacksStrace } from '../strace.ts';
import { DIRECTORY, World } from '../world.ts';

const INJECTIONS: readonly Injection[] = [
  { fault: 'fsync EIO', calls: ['fsync', 'fdatasync'], what: 'error=EIO' },
  {
    fault: 'ENOSPC',
    calls: ['pwrite64', 'mkdir', 'link', 'ftruncate'],
    what: 'error=ENOSPC',
    onwards: true,
  },
  { fault: 'EROFS', calls: ['rename', 'link', 'unlink', 'mkdir'], what: 'error=EROFS', onwards: true },
];

export default {
  name: 'file-errors',
  promises: 'P1 P2 P5',
  summary: 'a call on a file that fails ends in one clear message, and nothing is lost or doubled',
  leftOut: lacksStrace,
  async run(scope) {
    const world = await World.make(scope.scratch, DIRECTORY);
    const random = randomFrom(scope.seed);
    const tallies = [];
    for (const injection of scope.quick ? INJECTIONS.slice(0, 2) : INJECTIONS)
      for (const step of world.way.steps)
        tallies.push(await breakAlong(scope, world, step, injection, random));
    return tallies;
  },
} satisfies Fault as Fault;
