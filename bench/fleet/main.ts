/**
 * `npm run bench:fleet -- [--nodes N] [--runs N] [--database] [--own-servers] [--seed N] [--quick]`: makes a day (or the first so many of its 288 runs) of a
 * fleet, sends it through a relay, RabbitMQ, consume and process on this machine, and prints what each part costs and what follows for larger
 * fleets. Every batch that went in must be in store and archive once; else it ends with 1.
 */
import { parseArgs } from 'node:util';
import { columns } from '../../src/cli/output/columns.ts';
import { decode } from '../../src/spool/decode.ts';
import { type PrivateService, startMariaDb, startRabbitMq } from '../../test/helpers/private-services.ts';
import { amqpUrl, mysqlUrl } from '../../test/helpers/services.ts';
import { apartRatio, measuredRows, type NodeDay, nodeDay, rough, SIZES, sizeRows } from './account.ts';
import { Centre, type Idle, type Kept, type Round } from './centre.ts';
import { type Connecting, connecting } from './connections.ts';
import { Fleet, RUNS } from './day.ts';
import { type Model, modelOfThisMachine } from './model.ts';
import type { Sent } from './node.ts';

/** A round is closed at so many bytes, whatever it has of batches. */
const ROUND_BYTES = 256 * 1024 * 1024;
/** Connections that are made to see what one costs. */
const CONNECTIONS = 400;
const { values } = parseArgs({
  options: {
    nodes: { type: 'string' },
    runs: { type: 'string' },
    database: { type: 'boolean', default: false },
    'own-servers': { type: 'boolean', default: false },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 20)) },
    quick: { type: 'boolean', default: false },
  },
});

/** Rounds that the played part of the day is cut into. */
const ROUNDS = values.quick ? 1 : 10;

const began = performance.now();
const say = (text: string): void =>
  void process.stderr.write(`fleet: ${Math.round((performance.now() - began) / 1000)} s: ${text}\n`);
const print = (text: string): void => void process.stdout.write(`${text}\n`);

function whole(
  name: 'nodes' | 'runs' | 'seed',
  text: string | undefined,
  fallback: number,
  most: number,
): number {
  const given = text === undefined ? fallback : Number(text);
  if (Number.isInteger(given) && given >= 1 && given <= most) return given;
  process.stderr.write(`fleet: error: --${name} ${text}: not a whole number from 1 to ${most}\n`);
  process.exit(64);
}

const nodes = whole('nodes', values.nodes, values.quick ? 50 : 1000, 1_000_000);
const runs = whole('runs', values.runs, values.quick ? 12 : RUNS, RUNS);
const seed = whole('seed', values.seed, 1, 2 ** 20);

/** Batches in rounds of about so many. */
function* inRounds(sent: Iterable<Sent>, batches: number): Generator<Sent[]> {
  let round: Sent[] = [];
  let size = 0;
  for (const one of sent) {
    round.push(one);
    size += one.bytes.length;
    if (round.length < batches && size < ROUND_BYTES) continue;
    yield round;
    [round, size] = [[], 0];
  }
  if (round.length > 0) yield round;
}

async function play(centre: Centre, sent: Iterable<Sent>, batches: number): Promise<Round[]> {
  const rounds: Round[] = [];
  for (const lot of inRounds(sent, batches)) {
    const round = await centre.round(lot);
    rounds.push(round);
    const spent = ['dispatch', 'consume', 'process', 'archive', 'store'] as const;
    say(
      `round ${rounds.length}: ${round.batches} batches, ${rough(round.bytes / 1e6)} MB; CPU s: ${spent
        .flatMap((part) => (round[part] ? `${part} ${rough(round[part].cpu)}` : []))
        .join(', ')}, broker ${rough(round.broker)}, database ${rough(round.database)}`,
    );
  }
  return rounds;
}

const minus = (after: Kept, before: Kept): Kept => ({
  archive: after.archive - before.archive,
  store: after.store - before.store,
  evidence: after.evidence - before.evidence,
});

/** What first contact costs, where every node had whole inventories. */
function printContact(rounds: readonly Round[], kept: Kept): void {
  const per = (of: (round: Round) => number): string =>
    rough(rounds.reduce((sum, round) => sum + of(round), 0) / nodes);
  const cpu = (of: (round: Round) => number): string =>
    rough((rounds.reduce((sum, round) => sum + of(round), 0) / nodes) * 1000);
  print(
    `\nfirst contact, per node: ${per(({ events }) => events)} events, ${per(({ bytes }) => bytes / 1000)} kB; CPU ms: dispatch ${cpu(({ dispatch }) => dispatch.cpu)}, broker ${cpu(({ broker }) => broker)}, consume ${cpu(({ consume }) => consume.cpu)}, process ${cpu((round) => round.process?.cpu ?? round.archive!.cpu + round.store!.cpu)}, database ${cpu(({ database }) => database)}; kept: archive ${rough(kept.archive / nodes / 1000)} kB, store ${rough(kept.store / nodes / 1000)} kB`,
  );
}

/** What connections cost, with a batch of a node that is not of the fleet. */
async function connects(broker: string, model: Model): Promise<Connecting> {
  const stranger = new Fleet(model, 1, 1, seed).members[0]!;
  const [sent] = stranger.contact(Date.now());
  const connect = await connecting(broker, [...decode(sent!.bytes)][0]!.batch!, CONNECTIONS);
  print(`connections, 8 at a time, each with one batch: ${rough(connect.perSecond)} a second`);
  return connect;
}

function printCosts(day: NodeDay, idle: Idle, rounds: readonly Round[]): void {
  print(
    `per node and day: ${rough(day.batches)} batches, ${rough(day.events)} events, ${rough(day.bytes / 1000)} kB\n`,
  );
  print(columns(['part', 'CPU s per 1,000 nodes and day', 'share', 'nodes per core'], measuredRows(day)));
  print(
    `archive and store in two runs cost ${apartRatio(rounds).toFixed(2)} times what one run costs; a command with nothing to do: dispatch ${rough(idle.dispatch)}, consume ${rough(idle.consume)}, process ${rough(idle.process)} CPU s\n`,
  );
  print(columns(['nodes', ...SIZES.map((size) => size.toLocaleString('en-US'))], sizeRows(day, idle)));
}

async function bench(broker: string, database: string | undefined): Promise<boolean> {
  const model = await modelOfThisMachine();
  const fleet = new Fleet(model, nodes, runs, seed);
  say(`seed ${seed}: ${nodes} nodes, ${fleet.full} of them with whole inventories, ${runs} of ${RUNS} runs`);
  const centre = await Centre.make({ broker, ...(database === undefined ? {} : { database }) });
  try {
    say('first contact');
    const contact = await play(centre, fleet.contact(), Math.max(1000, nodes));
    const before = await centre.kept();
    say('the day');
    const rounds = await play(centre, fleet.day(), Math.ceil((nodes * runs * 1.15) / ROUNDS));
    const grown = minus(await centre.kept(), before);
    print(
      `${nodes} nodes, ${runs} of ${RUNS} runs of a day, store in ${database === undefined ? 'SQLite' : 'MariaDB'}`,
    );
    if (values.quick) print('no cost is worked out from so few: they only show that the way is whole');
    else {
      const idle = await centre.idle();
      const day = nodeDay(rounds, { nodes, runs, idle, connect: await connects(broker, model), grown });
      printCosts(day, idle, rounds);
      if (fleet.full === nodes) printContact(contact, before);
    }
    say('is every batch in store and archive, once?');
    const problems = await centre.problems(fleet.members.map(({ node }) => node));
    for (const problem of problems) print(`wrong: ${problem}`);
    const sent = [...contact, ...rounds].reduce((sum, { batches }) => sum + batches, 0);
    if (problems.length === 0) print(`\n${sent} batches went in; each is in store and archive, once`);
    return problems.length === 0;
  } finally {
    await centre.remove();
  }
}

const own: PrivateService[] = [];

async function start(service: Promise<PrivateService>): Promise<string> {
  const started = await service;
  own.push(started);
  return started.url;
}

try {
  const broker = values['own-servers'] ? await start(startRabbitMq()) : amqpUrl();
  const database = !values.database
    ? undefined
    : values['own-servers']
      ? await start(startMariaDb())
      : mysqlUrl();
  process.exitCode = (await bench(broker, database)) ? 0 : 1;
} finally {
  for (const service of own) await service.stop();
}
