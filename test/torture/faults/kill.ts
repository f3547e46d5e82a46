/** SIGKILL at the calls that change a file or talk to the network, of each command, on both ways; what follows must recover. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { servicesLeftOut } from '../../helpers/services.ts';
import { type Fault, randomFrom, type Scope, type Tally } from '../fault.ts';
import {
  CHANGING_CALLS,
  counting,
  injecting,
  lacksStrace,
  mostCalls,
  ONE_THREAD,
  wasKilled,
} from '../strace.ts';
import { brokerWay, DIRECTORY, type Step, type Way, World } from '../world.ts';

/** Points per command and call that the long form tries: all where there are no more, else evenly spread. */
const MOST_POINTS = 60;
/** Points per command that the quick form tries. */
const QUICK_POINTS = 3;

interface Point {
  readonly call: string;
  readonly nth: number;
}

/** Lets the world change and the steps before `step` run, so that it has something to do. */
async function prepare(world: World, step: Step): Promise<void> {
  world.change();
  for (const before of world.way.steps) {
    if (before === step) return;
    await world.step(before);
  }
}

/** Every point of the step, in the order of its calls, thinned out where there are many. */
async function pointsOf(world: World, step: Step, scratch: string): Promise<Point[]> {
  await prepare(world, step);
  const file = join(scratch, `${world.way.name}-${step}.calls`);
  await world.step(step, counting(CHANGING_CALLS, file), ONE_THREAD);
  return [...mostCalls(file)].flatMap(([call, count]) => {
    const stride = Math.max(1, count / MOST_POINTS);
    const points = Math.ceil(count / stride);
    return Array.from({ length: points }, (_, index) => ({ call, nth: 1 + Math.floor(index * stride) }));
  });
}

async function killAlong(scope: Scope, world: World, step: Step, random: () => number): Promise<Tally> {
  const all = await pointsOf(world, step, scope.scratch);
  const points = scope.quick
    ? Array.from({ length: QUICK_POINTS }, () => all[Math.floor(random() * all.length)]!)
    : all;
  let tried = 0;
  for (const { call, nth } of points) {
    await prepare(world, step);
    const ran = await world.step(step, injecting(call, 'signal=SIGKILL', nth), ONE_THREAD);
    if (wasKilled(ran)) tried++;
  }
  const stuck = await world.settle();
  const account = await world.account();
  scope.log(`${world.way.name}: ${step}: ${tried} of ${points.length} points reached`);
  const problems = [...stuck, ...account.problems];
  if (tried < points.length / 2) problems.push(`only ${tried} of ${points.length} points were reached`);
  return { fault: `SIGKILL in ${step} (${world.way.name})`, tried, detected: null, ...account, problems };
}

async function alongWay(scope: Scope, way: Way, steps: readonly Step[]): Promise<Tally[]> {
  const folder = join(scope.scratch, way.name);
  mkdirSync(folder);
  const world = await World.make(folder, way);
  const random = randomFrom(scope.seed);
  const tallies: Tally[] = [];
  for (const step of steps) tallies.push(await killAlong(scope, world, step, random));
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
