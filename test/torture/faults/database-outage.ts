/** A MariaDB that is killed, shut down, paused or full, that ends connections and holds locks, in the middle of loading; and two hosts that load at once. */
import { setTimeout as sleep } from 'node:timers/promises';
import { lacksMariaDb, type PrivateMariaDb, startMariaDb } from '../../helpers/private-services.ts';
import { servicesLeftOut } from '../../helpers/services.ts';
import { ending, killCommand } from '../command.ts';
import { Database } from '../database.ts';
import { type Fault, randomFrom, type Scope, type Tally } from '../fault.ts';
import { Flood } from '../flood.ts';
import { midway } from '../progress.ts';

/** One way for the database to be gone, and to come back. */
interface Outage {
  readonly name: string;
  /** Before there is a schema; false where it cannot be tried here. */
  prepare?(database: Database, scope: Scope): boolean | Promise<boolean>;
  /** Answers how many times it broke something, and what mends it. */
  begin(database: Database): Promise<{ broke: number; end(): unknown }>;
  /** How long it lasts at the least, in ms; else until cron has come by once more. */
  readonly lasts?: number;
  /** Batches in a round, where it must be more than for others. */
  readonly batches?: number;
  /** Whether loaders get over it without a word. */
  readonly quiet: boolean;
}

/** More than what a database has set aside for itself on a disk that is full. */
const FILLING_BATCHES = 2_000;

const KILLED: Outage = {
  name: 'SIGKILL',
  quiet: false,
  async begin({ server }) {
    await server.kill();
    return { broke: 1, end: () => server.again() };
  },
};

const CONNECTIONS_KILLED: Outage = {
  name: 'connections ended',
  quiet: true,
  lasts: 0,
  async begin(database) {
    let broke = await database.killConnections();
    for (let time = 0; time < 20; time++) {
      await sleep(100);
      broke += await database.killConnections();
    }
    return { broke, end: () => {} };
  },
};

async function paused({ server }: Database): Promise<{ broke: number; end(): unknown }> {
  server.pause();
  return { broke: 1, end: () => server.resume() };
}

const OUTAGES: readonly Outage[] = [
  KILLED,
  CONNECTIONS_KILLED,
  {
    name: 'SIGTERM',
    quiet: false,
    async begin({ server }) {
      await server.halt();
      return { broke: 1, end: () => server.again() };
    },
  },
  { name: 'paused for a moment', quiet: true, lasts: 1_500, begin: paused },
  { name: 'paused beyond all deadlines', quiet: false, begin: paused },
  {
    name: 'rows locked',
    quiet: false,
    prepare: async (database) => {
      await database.shortenLockWaits();
      return true;
    },
    begin: async (database) => ({ broke: 1, end: await database.holdLock() }),
  },
  {
    name: 'disk full',
    quiet: false,
    batches: FILLING_BATCHES,
    prepare: (database, scope) => database.mountTiny(scope),
    async begin(database) {
      database.fill();
      return { broke: 1, end: () => database.makeRoom() };
    },
  },
];

/** With two hosts that load at once, 10,000 in all. */
const BATCHES = 10_000 / (OUTAGES.length + 1);
const ROUNDS = 2;
const QUICK_BATCHES = 300;
/** Batches that arrive while the database is gone. */
const LATE_BATCHES = 50;
const LOAD = ['process', 'archive', 'store'];
/** Longer than a load of this size takes, shorter than the longest pause. */
const DEADLINE = '20s';
/** Longer than a loader tries to get on with a database that is gone, in ms: its deadline and the grace behind it. */
const PATIENCE = 35_000;

function configOf({ url }: Database): string {
  return `store: { url: '${url}' }\nprocessors:\n  archive: {}\n  store: { deadline: ${DEADLINE} }\n`;
}

interface Hit {
  readonly tried: number;
  readonly told: number;
  readonly problems: readonly string[];
}

/** Loads, lets the database go in the middle of it and come back, and loads the rest. */
async function under(flood: Flood, database: Database, outage: Outage, fraction: number): Promise<Hit> {
  const problems: string[] = [];
  let told = 0;
  const hear = ({ code, stderr }: { code: number | null; stderr: string }): void => {
    if (code !== 0) told++;
    if (code !== 0 && code !== 75) problems.push(`${outage.name}: process ended ${code}: ${stderr}`);
  };
  let most = 0;
  const far = (): boolean => {
    const now = flood.unloaded();
    most = Math.max(most, now);
    return flood.incoming() === 0 && now < most && now <= most * fraction;
  };
  const ended = ending(flood.start(...LOAD));
  let begun: Awaited<ReturnType<Outage['begin']>> | undefined;
  const hit = await midway(ended, far, async () => {
    begun = await outage.begin(database);
  });
  begun ??= await outage.begin(database);
  if (outage.lasts === undefined) {
    // It stays away until who was loading has given up; then more arrives, and cron comes by.
    await Promise.race([ended, sleep(PATIENCE)]);
    flood.pour(LATE_BATCHES, [flood.newIn('in')]);
    hear(await flood.run(...LOAD));
  } else await Promise.race([ended, sleep(outage.lasts)]);
  await begun.end();
  hear(await ended);
  problems.push(...(await flood.load()));
  return { tried: hit ? begun.broke : 0, told, problems };
}

async function through(
  scope: Scope,
  server: PrivateMariaDb,
  outages: readonly Outage[],
  rounds: number,
): Promise<Tally[]> {
  const name = outages.map((outage) => outage.name).join(', ');
  const database = await Database.make(server, `dsac_${name.replaceAll(/\W+/g, '_')}`);
  for (const { prepare } of outages) {
    if (!prepare || (await prepare(database, scope))) continue;
    scope.log(`left out: ${name}: cannot mount a small disk here`);
    return [];
  }
  const flood = await Flood.make(`${scope.scratch}/${database.name}`, configOf(database));
  // The first batches make the schema.
  flood.pour(20, [flood.newIn('in')]);
  await flood.must('process');
  const random = randomFrom(scope.seed);
  const hits: Hit[] = [];
  const problems: string[] = [];
  for (let round = 1; round <= rounds; round++) {
    for (const outage of outages) {
      const batches = outage.batches ?? Math.floor((scope.quick ? QUICK_BATCHES : BATCHES) / rounds);
      flood.pour(batches, [flood.newIn('in')]);
      hits.push(await under(flood, database, outage, 0.2 + 0.7 * random()));
    }
    scope.log(`${name}: round ${round} of ${rounds}`);
  }
  if (outages.some(({ quiet }) => !quiet) && hits.every(({ told }) => told === 0))
    problems.push('no command said a word');
  const account = await flood.account(database.ask);
  const sum = (of: (hit: Hit) => number): number => hits.reduce((total, hit) => total + of(hit), 0);
  return [
    {
      fault: `database: ${name}`,
      tried: sum(({ tried }) => tried),
      detected: sum(({ told }) => told),
      batches: account.batches,
      lost: account.lost,
      twice: account.twice,
      problems: [...problems, ...hits.flatMap((hit) => hit.problems), ...account.problems],
    },
  ];
}

/** Two hosts load at once, many of the batches both; now and then one of them is killed. */
async function twoLoaders(scope: Scope, server: PrivateMariaDb): Promise<Tally> {
  const database = await Database.make(server, 'dsac_two_loaders');
  const floods = await Promise.all(
    ['one', 'other'].map((host) => Flood.make(`${scope.scratch}/${host}`, configOf(database))),
  );
  const [one, other] = floods as [Flood, Flood];
  const spools = floods.map((flood) => flood.newIn('in'));
  const problems: string[] = [];
  let tried = 0;
  for (let round = 0; round < 4; round++) {
    one.pour(BATCHES / 4, spools);
    const commands = floods.map((flood) => flood.start(...LOAD));
    const [first, second] = commands.map((command) => ending(command));
    const some = (): boolean => other.unloaded() > 0;
    if (round % 2 === 1 && (await midway(second!, some, () => killCommand(commands[1]!)))) tried++;
    const { code, stderr } = await first!;
    if (code !== 0) problems.push(`process ended ${code}: ${stderr}`);
    await second;
    for (const flood of floods) problems.push(...(await flood.load()));
  }
  const { missing: _, ...account } = await one.account(database.ask, [other]);
  return {
    fault: 'database: two hosts load at once, one is killed',
    tried,
    detected: null,
    ...account,
    problems: [...problems, ...account.problems],
  };
}

export default {
  name: 'database-outage',
  promises: 'P2 P3 P4',
  summary: 'a database that goes away in the middle of loading has each batch once when it is back',
  leftOut: () => (servicesLeftOut === false ? lacksMariaDb() : servicesLeftOut),
  async run(scope) {
    const server = await startMariaDb();
    scope.defer(() => server.stop());
    if (scope.quick) return through(scope, server, [KILLED, CONNECTIONS_KILLED], 1);
    const tallies: Tally[] = [];
    for (const outage of OUTAGES) tallies.push(...(await through(scope, server, [outage], ROUNDS)));
    return [...tallies, await twoLoaders(scope, server)];
  },
} satisfies Fault as Fault;
