/** Tries something many times on a world, step by step of cron, and counts afterwards. */
import type { Ran } from '../helpers/dsac.ts';
import type { Tally } from './fault.ts';
import type { Step, World } from './world.ts';

/** One breaking of one step: makes it, runs the step, and mends it again. */
export type Trial = (step: Step) => Promise<Ran>;

/**
 * Runs each step of cron under each trial, on a world that changes before; then lets the world settle and counts. A step that ends with another
 * code than 0 has detected the fault.
 */
export async function tryEach(fault: string, world: World, trials: readonly Trial[]): Promise<Tally> {
  const problems: string[] = [];
  let [tried, detected] = [0, 0];
  for (const trial of trials) {
    world.change();
    for (const step of world.way.steps) {
      const { code, stderr } = await trial(step);
      tried++;
      if (code !== 0) detected++;
      // 75, try again later, is said only when it has lasted.
      if (code !== 0 && code !== 75 && stderr === '') problems.push(`${step} ended ${code} and said nothing`);
      if (/^ {4}at /m.test(stderr) || stderr.includes('torture:'))
        problems.push(`${step} ended ${code} and said ${stderr.slice(0, 500)}`);
    }
  }
  problems.push(...(await world.settle()));
  const account = await world.account();
  return { fault, tried, detected, ...account, problems: [...problems.slice(0, 10), ...account.problems] };
}
