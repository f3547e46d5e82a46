/** SIGKILL while a node's key is changed: the old key or the new one is there, whole, and what is signed by either is taken and proved. */
import { join } from 'node:path';
import { type Fault, randomFrom, type Scope, type Tally } from '../fault.ts';
import { CHANGING_CALLS, counting, injecting, lacksStrace, mostCalls, ONE_THREAD } from '../strace.ts';
import { DIRECTORY, World } from '../world.ts';

const QUICK_POINTS = 3;

async function keyRotation(scope: Scope): Promise<Tally> {
  const world = await World.make(scope.scratch, DIRECTORY);
  const rotate = ['init', '--rotate-key', '--home', world.home];
  const file = join(scope.scratch, 'calls');
  await world.run(rotate, counting(CHANGING_CALLS, file), ONE_THREAD);
  const all = [...mostCalls(file)].flatMap(([call, count]) =>
    Array.from({ length: count }, (_, index) => ({ call, nth: index + 1 })),
  );
  const random = randomFrom(scope.seed);
  const points = scope.quick
    ? Array.from({ length: QUICK_POINTS }, () => all[Math.floor(random() * all.length)]!)
    : all;
  const problems: string[] = [];
  let tried = 0;
  for (const { call, nth } of points) {
    world.change();
    // Spooled under the key before, and delivered after it has changed.
    await world.step('agent');
    const { code } = await world.run(
      rotate,
      injecting(call, 'signal=SIGKILL', String(nth), file),
      ONE_THREAD,
    );
    if (code !== null) continue;
    tried++;
    world.change();
    for (const step of DIRECTORY.steps) {
      const ran = await world.step(step);
      if (ran.code !== 0)
        problems.push(`${call} ${nth}: then ${step} ended ${ran.code}: ${ran.stderr.trim()}`);
    }
  }
  if (tried < points.length / 2) problems.push(`only ${tried} of ${points.length} points were reached`);
  problems.push(...(await world.settle()));
  const account = await world.account();
  return {
    fault: 'SIGKILL while a key is changed',
    tried,
    detected: null,
    ...account,
    problems: [...problems, ...account.problems],
  };
}

export default {
  name: 'key-rotation',
  promises: 'P1 P6',
  summary: 'killed while it changes its key, a node goes on under the old one or the new one',
  leftOut: lacksStrace,
  run: async (scope) => [await keyRotation(scope)],
} satisfies Fault as Fault;
