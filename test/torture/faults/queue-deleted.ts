/**
 * The queue, or the exchange with it, is deleted under dispatcher and consumer. What the broker had confirmed and threw away with the queue cannot be
 * sent again: it must be known to be missing. All else must arrive.
 */
import type { Channel } from 'amqplib';
import { amqpUrl, servicesLeftOut } from '../../helpers/services.ts';
import { ending } from '../command.ts';
import { onBroker, ownExchange } from '../exchange.ts';
import { type Fault, randomFrom, type Scope, type Tally } from '../fault.ts';
import { Flood } from '../flood.ts';
import { midway } from '../progress.ts';

const NODES = 20;
/** The streams go on between two deletions by so many batches, a few groups of a dispatcher and many of a consumer. */
const BATCHES = 500;
const QUICK_BATCHES = 300;

function configOf(name: string): string {
  const broker = `url: '${amqpUrl()}', exchange: ${name}`;
  return `dispatchers:\n  broker: { type: amqp, ${broker} }\nconsume: { ${broker}, queue: ${name}, prefetch: 50 }\n`;
}

interface Broken {
  readonly flood: Flood;
  readonly channel: Channel;
  readonly name: string;
  readonly problems: string[];
  readonly random: () => number;
  /** Commands in whose middle something was deleted. */
  hit: number;
}

/** Runs a command, deletes in its middle, and declares all anew. */
async function under(
  broken: Broken,
  args: readonly string[],
  far: () => boolean | Promise<boolean>,
  withExchange: boolean,
): Promise<void> {
  const { flood, channel, name, problems } = broken;
  const ended = ending(flood.start(...args));
  const hit = await midway(ended, far, async () => {
    await channel.deleteQueue(name);
    if (withExchange) await channel.deleteExchange(name);
  });
  const { code, stderr } = await ended;
  if (hit) broken.hit++;
  if (code === null || ![0, 69, 75].includes(code)) problems.push(`${args[0]} ended ${code}: ${stderr}`);
  await flood.must('consume', '--setup');
}

async function round(broken: Broken, batches: number, withExchange: boolean): Promise<void> {
  const { flood, channel, name, random } = broken;
  flood.pour(batches);
  const left = flood.outgoing() * random();
  await under(broken, ['dispatch', 'broker'], () => flood.outgoing() <= left, withExchange);
  broken.problems.push(...(await flood.calm('dispatch', 'broker')));
  const ready = (await channel.checkQueue(name)).messageCount * random();
  const taken = async (): Promise<boolean> => (await channel.checkQueue(name)).messageCount <= ready;
  await under(broken, ['consume'], taken, withExchange);
}

/** The places that `dsac report completeness` says are missing: `node seq`. */
async function told(flood: Flood): Promise<Set<string>> {
  const { rows } = JSON.parse(await flood.must('report', 'completeness', '--format', 'json')) as {
    rows: { node: string; gaps: { from: number; to: number }[] }[];
  };
  return new Set(
    rows.flatMap(({ node, gaps }) =>
      gaps.flatMap(({ from, to }) =>
        Array.from({ length: to - from + 1 }, (_, at) => `${node} ${from + at}`),
      ),
    ),
  );
}

async function settle({ flood, problems, hit }: Broken): Promise<Tally> {
  // What comes behind a hole shows it.
  flood.pour(NODES);
  for (const args of [['dispatch', 'broker'], ['consume'], ['process']])
    problems.push(...(await flood.calm(...args)));
  const { missing, lost, ...account } = await flood.account();
  const known = await told(flood);
  const unknown = missing.filter((place) => !known.has(place));
  for (const place of known)
    if (!missing.includes(place)) problems.push(`${place} is here and said to be missing`);
  return {
    fault: 'queue or exchange deleted under dispatch and consume',
    tried: hit,
    detected: known.size,
    ...account,
    lost: lost - missing.length + unknown.length,
    problems: [...problems, ...account.problems],
  };
}

export default {
  name: 'queue-deleted',
  promises: 'P2 P5',
  summary: 'what a broker throws away with its queue is known to be missing, and all else arrives',
  leftOut: () => (servicesLeftOut === false ? undefined : servicesLeftOut),
  async run(scope: Scope): Promise<Tally[]> {
    const name = ownExchange(scope);
    const flood = await Flood.make(scope.scratch, configOf(name), NODES);
    await flood.must('consume', '--setup');
    return onBroker(amqpUrl(), async (channel) => {
      const broken: Broken = { flood, channel, name, problems: [], random: randomFrom(scope.seed), hit: 0 };
      const rounds = scope.quick ? 1 : 10_000 / BATCHES;
      for (let n = 1; n <= rounds; n++) {
        await round(broken, scope.quick ? QUICK_BATCHES : BATCHES, n % 2 === 0);
        scope.log(`round ${n} of ${rounds}: deleted in the middle of ${broken.hit} commands`);
      }
      return [await settle(broken)];
    });
  },
} satisfies Fault as Fault;
