/** SIGKILL at the calls that change a file or talk to the network, of each command, on both ways; what follows must recover. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { servicesLeftOut } from '../../helpers/services.ts';
import { type Fault, randomFrom, type Scope, type Tally } from '../fault.ts';
import { breakAlong } from '../points.ts';
import { CHANGING_CALLS, lacksStrace } from '../strace.ts';
import { brokerWay, DIRECTORY, type Step, type Way, World } from '../world.ts';

const SIGKILL = { fault: 'SIGKILL', calls: CHANGING_CALLS, what: 'signal=SIGKILL' };

async function alongWay(scope: Scope, way: Way, steps: readonly Step[]): Promise<Tally[]> {
  const folder = join(scope.scratch, way.name);
  mkdirSync(folder);
  const world = await World.make(folder, way);
  const random = randomFrom(scope.seed);
  const tallies: Tally[] = [];
  for (const step of steps) tallies.push(await breakAlong(scope, world, step, SIGKILL, random));
  return tallies;
}

export default {
  name: 'kill',
  promises: 'P1 P2 P3',
  summary: 'killed at any call, a command loses nothing and doubles nothing: the next run goes on',
  leftOut: lacksStrace,
  async run(scope) {
    const tallies = await alongWay(scope, DIRECTORY, DIRECTORY.steps);
    if (!servicesLeftOut) tallies.push(...(await alongWay(scope, brokerWay(scope), ['dispatch', 'consume'])));
    return tallies;
  },
} satisfies Fault as Fault;
