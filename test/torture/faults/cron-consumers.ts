/** Cron-style consumers, one after another, on a queue that gives a message up after few deliveries; some are killed with their hands full. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Channel } from 'amqplib';
import { amqpUrl, servicesLeftOut } from '../../helpers/services.ts';
import { ending, killCommand } from '../command.ts';
import { onBroker, ownExchange } from '../exchange.ts';
import { type Fault, randomFrom, type Scope, type Tally } from '../fault.ts';
import { Flood } from '../flood.ts';
import { midway } from '../progress.ts';

const DELIVERY_LIMIT = 3;
const RUNS = 25;
const QUICK_RUNS = 8;
const PREFETCH = 100;
/** How long a broker may take to notice that a consumer is gone, in ms. */
const PATIENCE = 10_000;

function configOf(name: string): string {
  const broker = `url: '${amqpUrl()}', exchange: ${name}`;
  return `dispatchers:\n  broker: { type: amqp, ${broker} }\nconsume: { ${broker}, queue: ${name}, prefetch: ${PREFETCH} }\n`;
}

/** The queue as DSAC declares it, but that it gives up sooner. */
async function limitQueue(channel: Channel, name: string): Promise<void> {
  await channel.deleteQueue(name);
  await channel.assertQueue(name, {
    durable: true,
    arguments: {
      'x-queue-type': 'quorum',
      'x-overflow': 'reject-publish',
      'x-dead-letter-exchange': `${name}.dead`,
      'x-dead-letter-strategy': 'at-least-once',
      'x-delivery-limit': DELIVERY_LIMIT,
    },
  });
  await channel.bindQueue(name, name, 'dsac.#');
}

/** Messages that no consumer holds. */
async function ready(channel: Channel, queue: string): Promise<number> {
  return (await channel.checkQueue(queue)).messageCount;
}

interface Counted {
  killed: number;
  /** Messages from there that a command said it has taken in. */
  told: number;
}

/** Waits until the broker has taken back what a killed consumer held: then no consumer is counted any more. */
async function handsFree(channel: Channel, queue: string): Promise<void> {
  const until = Date.now() + PATIENCE;
  while ((await channel.checkQueue(queue)).consumerCount > 0 && Date.now() < until) await sleep(10);
}

/** Runs a consumer to its end, and hears what it says of messages that the queue had given up on. */
async function hear(flood: Flood, counted: Counted, ...more: string[]): Promise<void> {
  const { stderr } = await flood.run('consume', ...more);
  counted.told += Number(/(\d+) message\(s\) that the queue had given up on/.exec(stderr)?.[1] ?? 0);
}

/** A run that is killed as soon as it holds messages; false when it held none. */
async function runAndKill(flood: Flood, channel: Channel, name: string): Promise<boolean> {
  await handsFree(channel, name);
  const before = await ready(channel, name);
  const command = flood.start('consume');
  const ended = ending(command);
  const killed = await midway(
    ended,
    async () => (await ready(channel, name)) < before,
    () => killCommand(command),
  );
  await ended;
  return killed;
}

async function consumers(scope: Scope, flood: Flood, channel: Channel, name: string): Promise<Counted> {
  const random = randomFrom(scope.seed);
  const counted = { killed: 0, told: 0 };
  const runs = scope.quick ? QUICK_RUNS : RUNS;
  for (let run = 1; run <= runs; run++) {
    // The first ones are killed until messages are given up.
    const none = counted.told === 0 && (await ready(channel, `${name}.dead`)) === 0;
    if (run < runs && (none || random() < 0.5)) {
      if (await runAndKill(flood, channel, name)) counted.killed++;
      await handsFree(channel, name);
    } else await hear(flood, counted, '--max-time', '1s');
    scope.log(
      `run ${run} of ${runs}: ${counted.killed} killed, ${counted.told} given up by the queue and taken in`,
    );
  }
  return counted;
}

export default {
  name: 'cron-consumers',
  promises: 'P2 P3',
  summary: 'what a queue gives up on because consumers were killed arrives all the same',
  leftOut: () => (servicesLeftOut === false ? undefined : servicesLeftOut),
  async run(scope): Promise<Tally[]> {
    const name = ownExchange(scope);
    const flood = await Flood.make(scope.scratch, configOf(name));
    await flood.must('consume', '--setup');
    const { killed, told } = await onBroker(amqpUrl(), async (channel) => {
      await limitQueue(channel, name);
      flood.pour(scope.quick ? 300 : 10_000);
      await flood.must('dispatch', 'broker');
      const counted = await consumers(scope, flood, channel, name);
      await hear(flood, counted);
      return counted;
    });
    const problems = [...(await flood.calm('consume')), ...(await flood.calm('process'))];
    // With few messages, kills may leave all of them below the limit.
    if (told === 0 && !scope.quick) problems.push('no command said that the queue had given anything up');
    const { missing: _, ...account } = await flood.account();
    return [
      {
        fault: `consumers killed on a queue with a delivery limit of ${DELIVERY_LIMIT}`,
        tried: killed,
        detected: told,
        ...account,
        problems: [...problems, ...account.problems],
      },
    ];
  },
} satisfies Fault as Fault;
