/** Breaks a command at each of its system calls in turn, and counts afterwards. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Scope, Tally } from './fault.ts';
import { counting, injecting, mostCalls, ONE_THREAD } from './strace.ts';
import type { Step, World } from './world.ts';

/** Points per command and call that the long form tries: all where there are no more, else evenly spread. */
const MOST_POINTS = 60;
/** Points per command that the quick form tries. */
const QUICK_POINTS = 2;

/** What is done to which calls. */
export interface Injection {
  /** In words: `SIGKILL`. */
  readonly fault: string;
  readonly calls: readonly string[];
  /** In strace's words: `signal=SIGKILL`, `error=EIO`. */
  readonly what: string;
  /** All calls from that point on, not only one. */
  readonly onwards?: boolean;
}

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
async function pointsOf(
  world: World,
  step: Step,
  calls: readonly string[],
  scratch: string,
): Promise<Point[]> {
  // A first run makes what later ones find made, a store above all: its calls come once.
  await prepare(world, step);
  await world.step(step);
  await prepare(world, step);
  const file = join(scratch, 'calls');
  await world.step(step, counting(calls, file), ONE_THREAD);
  return [...mostCalls(file)].flatMap(([call, count]) => {
    const stride = Math.max(1, count / MOST_POINTS);
    const points = Math.ceil(count / stride);
    return Array.from({ length: points }, (_, index) => ({ call, nth: 1 + Math.floor(index * stride) }));
  });
}

/** Breaks `step` at its points, lets the world settle and counts. What the command says of a fault makes it a detected one. */
export async function breakAlong(
  scope: Scope,
  world: World,
  step: Step,
  injection: Injection,
  random: () => number,
): Promise<Tally> {
  const { fault, calls, what, onwards } = injection;
  const all = await pointsOf(world, step, calls, scope.scratch);
  const points = scope.quick
    ? Array.from({ length: QUICK_POINTS }, () => all[Math.floor(random() * all.length)]!)
    : all;
  const file = join(scope.scratch, 'injected');
  const problems: string[] = [];
  let [tried, detected] = [0, 0];
  for (const { call, nth } of points) {
    await prepare(world, step);
    const { code, stderr } = await world.step(
      step,
      injecting(call, what, `${nth}${onwards ? '+' : ''}`, file),
      ONE_THREAD,
    );
    const killed = what.startsWith('signal');
    if (!(killed ? code === null : readFileSync(file, 'utf8').includes('INJECTED'))) continue;
    tried++;
    if (!killed && code !== 0 && stderr !== '') detected++;
    if (/^ {4}at /m.test(stderr) || stderr.includes('torture:'))
      problems.push(`${call} ${nth}: ended ${code} and said ${stderr.slice(0, 500)}`);
  }
  problems.push(...(await world.settle()));
  const account = await world.account();
  scope.log(`${fault}: ${world.way.name}: ${step}: ${tried} of ${points.length} points reached`);
  if (tried < points.length / 2) problems.push(`only ${tried} of ${points.length} points were reached`);
  return {
    fault: `${fault} in ${step} (${world.way.name})`,
    tried,
    detected: what.startsWith('signal') ? null : detected,
    ...account,
    problems: [...problems, ...account.problems],
  };
}
