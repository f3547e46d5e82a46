/** A RabbitMQ that is shut down, killed, paused or out of memory in the middle of dispatch and consume, and comes back with its data. */
import { setTimeout as sleep } from 'node:timers/promises';
import { lacksRabbitMq, type PrivateRabbitMq, startRabbitMq } from '../../helpers/private-services.ts';
import { servicesLeftOut } from '../../helpers/services.ts';
import { ending } from '../command.ts';
import type { Fault, Scope, Tally } from '../fault.ts';
import { Flood } from '../flood.ts';
import { midway } from '../progress.ts';

/** One way to be gone, and to come back. */
interface Outage {
  readonly name: string;
  begin(broker: PrivateRabbitMq): unknown;
  end(broker: PrivateRabbitMq): unknown;
  /** How long it lasts at the least, in ms. */
  readonly lasts: number;
}

const KILLED: Outage = {
  name: 'SIGKILL',
  begin: (broker) => broker.kill(),
  end: (broker) => broker.again(),
  lasts: 0,
};

/** Shorter than any deadline: those that wait for it go on as if nothing had been. */
const SHORT_PAUSE: Outage = {
  name: 'paused for a moment',
  begin: (broker) => broker.pause(),
  end: (broker) => broker.resume(),
  lasts: 700,
};

const OUTAGES: readonly Outage[] = [
  KILLED,
  SHORT_PAUSE,
  { name: 'SIGTERM', begin: (broker) => broker.halt(), end: (broker) => broker.again(), lasts: 0 },
  {
    name: 'paused beyond all deadlines',
    begin: (broker) => broker.pause(),
    end: (broker) => broker.resume(),
    lasts: 25_000,
  },
  {
    name: 'rabbitmqctl stop_app',
    begin: (broker) => broker.control('stop_app'),
    end: (broker) => broker.control('start_app'),
    lasts: 0,
  },
  {
    name: 'memory alarm',
    begin: (broker) => broker.control('set_vm_memory_high_watermark', 'absolute', '1'),
    end: (broker) => broker.control('set_vm_memory_high_watermark', '0.4'),
    lasts: 0,
  },
];

const NAME = 'dsac-torture';
/** Batches between two outages: enough for rabbitmqctl, which takes seconds, to meet a dispatcher at its work. */
const BATCHES = 850;
/** Batches that agents write while the broker is gone. */
const LATE_BATCHES = 50;
/** In each of them dispatch and consume are hit. */
const ROUNDS = 2;
const QUICK_BATCHES = 300;
/**
 * How long the broker is left alone after its queues were declared, in ms. RabbitMQ 3.10 writes what it must know of a quorum queue to start it again some
 * seconds later: one that was declared right before SIGKILL answers nobody any more. Nothing outside tells when all of it is written.
 */
const SETTLING = 6_000;

function configOf(url: string): string {
  const broker = `url: '${url}', exchange: ${NAME}, connect_timeout: 2s`;
  return `dispatchers:\n  broker: { type: amqp, ${broker}, confirm_timeout: 2s }\nconsume: { ${broker}, queue: ${NAME}, prefetch: 50 }\n`;
}

interface Hit {
  tried: number;
  told: number;
  readonly problems: string[];
}

/** Runs a command, lets the broker go in its middle and come back, then lets the command's work be finished. */
async function under(
  broker: PrivateRabbitMq,
  flood: Flood,
  outage: Outage,
  args: readonly string[],
  far: () => boolean,
): Promise<Hit> {
  const problems: string[] = [];
  let told = 0;
  const hear = ({ code, stderr }: { code: number | null; stderr: string }): void => {
    if (code !== 0) told++;
    if (code === null || ![0, 69, 75].includes(code))
      problems.push(`${outage.name}: ${args[0]} ended ${code}: ${stderr}`);
  };
  const ended = ending(flood.start(...args));
  const hit = await midway(ended, far, () => outage.begin(broker));
  if (!hit) await outage.begin(broker);
  await Promise.race([ended, sleep(outage.lasts)]);
  if (outage.lasts === 0) {
    // Agents go on while it is gone, and cron comes by.
    flood.pour(LATE_BATCHES);
    hear(await flood.run(...args));
  }
  await outage.end(broker);
  hear(await ended);
  problems.push(...(await flood.calm(...args)));
  if (args[0] === 'consume' && flood.outgoing() > 0)
    problems.push(...(await flood.calm('dispatch', 'broker')));
  return { tried: hit ? 1 : 0, told, problems };
}

async function through(
  scope: Scope,
  broker: PrivateRabbitMq,
  [inDispatch, inConsume]: readonly [Outage, Outage],
  rounds: number,
): Promise<Tally> {
  const name = inDispatch === inConsume ? inDispatch.name : `${inDispatch.name}, ${inConsume.name}`;
  const flood = await Flood.make(`${scope.scratch}/${name.replaceAll(' ', '-')}`, configOf(broker.url));
  await flood.must('consume', '--setup');
  await sleep(SETTLING);
  const hits: Hit[] = [];
  for (let round = 1; round <= rounds; round++) {
    flood.pour(scope.quick ? QUICK_BATCHES : BATCHES);
    const whole = flood.outgoing();
    hits.push(await under(broker, flood, inDispatch, ['dispatch', 'broker'], () => flood.outgoing() < whole));
    const before = flood.incoming();
    hits.push(await under(broker, flood, inConsume, ['consume'], () => flood.incoming() > before));
    scope.log(`${name}: round ${round} of ${rounds}`);
  }
  const problems = [...hits.flatMap((hit) => hit.problems)];
  const last = inConsume.lasts === 0 ? ['consume', 'process'] : ['process'];
  for (const step of last) problems.push(...(await flood.calm(step)));
  const { missing: _, ...account } = await flood.account();
  if (inDispatch.lasts === 0 && hits.every(({ told }) => told === 0)) problems.push('no command said a word');
  const sum = (of: (hit: Hit) => number): number => hits.reduce((total, hit) => total + of(hit), 0);
  return {
    fault: `broker gone: ${name}`,
    tried: sum(({ tried }) => tried),
    detected: sum(({ told }) => told),
    ...account,
    problems: [...problems, ...account.problems],
  };
}

export default {
  name: 'broker-outage',
  promises: 'P2 P3 P4',
  summary:
    'a broker that is killed, shut down, paused or full in the middle of the work costs nothing but time',
  leftOut: () => (servicesLeftOut === false ? lacksRabbitMq() : servicesLeftOut),
  async run(scope) {
    const broker = await startRabbitMq();
    scope.defer(() => broker.stop());
    if (scope.quick) return [await through(scope, broker, [KILLED, SHORT_PAUSE], 1)];
    const tallies: Tally[] = [];
    for (const outage of OUTAGES) tallies.push(await through(scope, broker, [outage, outage], ROUNDS));
    return tallies;
  },
} satisfies Fault as Fault;
