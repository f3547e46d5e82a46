/** Many processes of each command at once, as when cron starts what an hour of suspension held back. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { servicesLeftOut } from '../../helpers/services.ts';
import type { Fault, Scope, Tally } from '../fault.ts';
import { brokerWay, DIRECTORY, type Way, World } from '../world.ts';

const PROCESSES = 20;
const TIMES = 50;
/** On the way without a broker, whose commands are all tried on the other one too. */
const TIMES_WITHOUT = 10;
const QUICK_PROCESSES = 6;

async function crowd(scope: Scope, way: Way, times: number): Promise<Tally> {
  const folder = join(scope.scratch, way.name);
  mkdirSync(folder);
  const world = await World.make(folder, way);
  const commands = [
    ...way.steps.map((step) => world.args(step)),
    ['report', 'packages', '--home', world.home],
  ];
  const problems: string[] = [];
  let tried = 0;
  for (let time = 0; time < (scope.quick ? 1 : times); time++) {
    world.change();
    for (const args of commands) {
      const many = Array.from({ length: scope.quick ? QUICK_PROCESSES : PROCESSES }, () => world.run(args));
      for (const { code, stderr } of await Promise.all(many)) {
        tried++;
        if (code !== 0 || stderr !== '')
          problems.push(`${args[0]} ended ${code} and said '${stderr.trim()}'`);
      }
    }
    if (time % 10 === 9) scope.log(`${way.name}: ${time + 1} times`);
  }
  problems.push(...(await world.settle()));
  const account = await world.account();
  return {
    fault: `many at once (${way.name})`,
    tried,
    detected: null,
    ...account,
    problems: [...problems.slice(0, 10), ...account.problems],
  };
}

export default {
  name: 'crowd',
  promises: 'P8',
  summary:
    'of many processes of a command at once those without the lock leave quietly with 0, and nothing is lost or doubled',
  run: async (scope) => [
    await crowd(scope, DIRECTORY, servicesLeftOut ? TIMES : TIMES_WITHOUT),
    ...(servicesLeftOut ? [] : [await crowd(scope, brokerWay(scope), TIMES)]),
  ],
} satisfies Fault as Fault;
