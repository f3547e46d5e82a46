/** A network between DSAC and its broker that delays, cuts at any byte, resets, half-closes and swallows. */
import { amqpUrl, servicesLeftOut } from '../../helpers/services.ts';
import { ownExchange } from '../exchange.ts';
import { type Fault, randomFrom, type Scope, type Tally } from '../fault.ts';
import { Flood } from '../flood.ts';
import { HARMS, HarmfulProxy, type Plan } from '../proxy.ts';

/** Batches that each run has to move, and about how many bytes they are on the wire. */
const BATCHES = 50;
const BYTES = 50_000;
/** The earliest byte at which a connection is harmed: within its first words. */
const FIRST = 40;
/** What the long form puts through each harm. */
const LONG = 10_000 / HARMS.length;
/** The quick form's rounds, of all harms but the one that keeps a reader waiting for its deadline. */
const QUICK_ROUNDS = 2;

function configOf(url: URL, name: string, port: number): string {
  const through = new URL(url);
  through.host = `127.0.0.1:${port}`;
  const broker = `url: '${through.href}', exchange: ${name}, connect_timeout: 2s`;
  return `dispatchers:\n  broker: { type: amqp, ${broker}, confirm_timeout: 1s }\nconsume: { ${broker}, queue: ${name}, prefetch: 100 }\n`;
}

/** Lets dispatch and consume each run through the harmed network again and again, then once through a whole one. */
async function harmed(scope: Scope, harms: readonly Plan['harm'][], rounds: number): Promise<Tally> {
  const random = randomFrom(scope.seed);
  const url = new URL(amqpUrl());
  const proxy = await HarmfulProxy.before(scope, Number(url.port) || 5672);
  const name = ownExchange(scope);
  const flood = await Flood.make(`${scope.scratch}/${harms[0]}`, configOf(url, name, proxy.port));
  await flood.must('consume', '--setup');
  proxy.plan = () => ({
    harm: harms[Math.floor(random() * harms.length)]!,
    towards: random() < 0.5 ? 'server' : 'client',
    after: Math.floor(FIRST * (BYTES / FIRST) ** random()),
    both: random() < 0.5,
  });
  const problems: string[] = [];
  let told = 0;
  for (let round = 1; round <= rounds; round++) {
    flood.pour(BATCHES);
    for (const args of [['dispatch', 'broker'], ['consume']]) {
      const { code, stderr } = await flood.run(...args);
      if (code !== 0) told++;
      if (code === null || ![0, 69, 75].includes(code)) problems.push(`${args[0]} ended ${code}: ${stderr}`);
    }
    if (round % 10 === 0) scope.log(`${harms.join(', ')}: round ${round} of ${rounds}`);
  }
  const tried = proxy.harmed;
  proxy.plan = () => undefined;
  for (const args of [['dispatch', 'broker'], ['consume'], ['process']])
    problems.push(...(await flood.calm(...args)));
  const { missing: _, ...account } = await flood.account();
  return {
    fault: `network to the broker: ${harms.join(', ')}`,
    tried,
    detected: told,
    ...account,
    problems: [...problems, ...account.problems],
  };
}

export default {
  name: 'broker-proxy',
  promises: 'P2 P3',
  summary: 'a network that delays, cuts, resets, half-closes or swallows loses nothing and doubles nothing',
  leftOut: () => (servicesLeftOut === false ? undefined : servicesLeftOut),
  async run(scope) {
    if (scope.quick) {
      const sudden = HARMS.filter((harm) => harm !== 'swallow');
      return [await harmed(scope, sudden, QUICK_ROUNDS)];
    }
    const tallies: Tally[] = [];
    for (const harm of HARMS) tallies.push(await harmed(scope, [harm], LONG / BATCHES));
    return tallies;
  },
} satisfies Fault as Fault;
