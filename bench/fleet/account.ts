/** What was measured, per node and day; and what follows from it for fleets of any size. Pure. */
import { randomUUID } from 'node:crypto';
import { type Idle, type Kept, processingOf, type Round } from './centre.ts';
import { busiestSecond, type Connecting, SPLAY_SECONDS } from './connections.ts';
import { RUNS } from './day.ts';

/** How much of a core one process may be busy on average: what was not sent for an hour is then made up for within an hour. */
const BUSY = 0.5;
/** Cron starts consume and process every minute. */
const MINUTES = 1440;
export const SIZES = [1_000, 10_000, 100_000, 1_000_000] as const;

/** Per node and day: counts, bytes, and CPU seconds. */
export interface NodeDay {
  readonly batches: number;
  readonly events: number;
  readonly bytes: number;
  readonly dispatch: number;
  /** The broker's for the messages, when they come over few connections. */
  readonly broker: number;
  /** The broker's for a connection at each run of cron. */
  readonly connections: number;
  readonly consume: number;
  readonly process: number;
  readonly archive: number;
  readonly store: number;
  readonly database: number;
  readonly kept: Kept;
}

export function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 === 1 ? sorted[Math.floor(middle)]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** The median over rounds of what a part costs per batch; rounds without that part are left out. */
function perBatch(rounds: readonly Round[], cost: (round: Round) => number | undefined): number {
  return median(
    rounds.flatMap((round) => {
      const spent = cost(round);
      return spent === undefined ? [] : Math.max(0, spent) / round.batches;
    }),
  );
}

/** The days of `nodes` nodes, of which `runs` of 288 runs were played, from the rounds that carried them. */
export function nodeDay(
  rounds: readonly Round[],
  {
    nodes,
    runs,
    idle,
    connect,
    grown,
  }: { nodes: number; runs: number; idle: Idle; connect: Connecting; grown: Kept },
): NodeDay {
  const days = (nodes * runs) / RUNS;
  const sum = (of: (round: Round) => number): number => rounds.reduce((all, round) => all + of(round), 0);
  const batches = sum((round) => round.batches) / days;
  const cost = (of: (round: Round) => number | undefined): number => batches * perBatch(rounds, of);
  return {
    batches,
    events: sum((round) => round.events) / days,
    bytes: sum((round) => round.bytes) / days,
    dispatch: cost(({ dispatch }) => dispatch.cpu - idle.dispatch),
    broker: cost(({ broker }) => broker),
    connections: RUNS * connect.broker,
    consume: cost(({ consume }) => consume.cpu - idle.consume),
    process: cost(({ process }) => process && process.cpu - idle.process),
    archive: cost(({ archive }) => archive && archive.cpu - idle.process),
    store: cost(({ store }) => store && store.cpu - idle.process),
    database: cost(({ database }) => database),
    kept: { archive: grown.archive / days, store: grown.store / days, evidence: grown.evidence / days },
  };
}

const number = (value: number, digits = 0): string =>
  value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });

/** Two digits that count. */
export const rough = (value: number): string =>
  value === 0 ? '0' : value >= 100 ? number(value) : Number(value.toPrecision(2)).toString();

const megabytes = (bytes: number): string => `${rough(bytes / 1e6)} MB`;

/** What was measured, as rows of a table. */
export function measuredRows(day: NodeDay): string[][] {
  const all = day.dispatch + day.broker + day.consume + day.process + day.database;
  const part = (name: string, cpu: number, share = true): string[] => [
    name,
    rough(cpu * 1000),
    share ? `${Math.round((cpu / all) * 100)} %` : '',
    cpu > 0 ? number(Math.round(86_400 / cpu / 100) * 100) : '',
  ];
  return [
    part('dispatch (of a relay)', day.dispatch),
    part('broker: messages', day.broker),
    part('broker: one connection per node and run', day.connections, false),
    part('consume', day.consume),
    part('process: all in one run', day.process),
    part('  archive in a run of its own, with routing and checking', day.archive, false),
    part('  store in a run of its own', day.store, false),
    part('database server', day.database),
  ];
}

/** The columns of the table of sizes: one row a quantity, one column a size. `busiest`: nodes whose cron begins in the busiest second. */
export function sizeRows(day: NodeDay, idle: Idle): string[][] {
  const row = (name: string, of: (nodes: number) => string): string[] => [name, ...SIZES.map(of)];
  const cores = (cpu: number) => (nodes: number) => (nodes * cpu) / 86_400;
  const fixed = (cost: number): number => (MINUTES * cost) / 86_400;
  const processes = (cpu: number, startup: number) => (nodes: number) =>
    Math.max(1, Math.ceil(cores(cpu)(nodes) / (BUSY - fixed(startup))));
  const central = processes(day.process, idle.process);
  return [
    row('batches a second', (nodes) => rough((nodes * day.batches) / 86_400)),
    row('MB a second', (nodes) => rough((nodes * day.bytes) / 86_400 / 1e6)),
    row('connections in the first second, all at second 0', (nodes) => number(nodes)),
    row('connections a second, spread over 60 s', (nodes) => rough(nodes / 60)),
    row('connections a second, spread over 300 s (dsac cron)', (nodes) => rough(nodes / SPLAY_SECONDS)),
    row('  in the busiest second of dsac cron’s lines', (nodes) => number(busiestSecond(ids(nodes)))),
    row('broker: cores, every node connects', (nodes) => rough(cores(day.broker + day.connections)(nodes))),
    row('broker: cores, behind relays', (nodes) => rough(cores(day.broker)(nodes))),
    row('relays: dispatch, cores', (nodes) => rough(cores(day.dispatch)(nodes))),
    row('consume: cores', (nodes) => rough(cores(day.consume)(nodes))),
    row('consume: processes', (nodes) => number(processes(day.consume, idle.consume)(nodes))),
    row('process: cores', (nodes) => rough(cores(day.process)(nodes))),
    row('process: centres (each with its queue)', (nodes) => number(central(nodes))),
    ...(day.database > 0
      ? [row('database server: cores', (nodes) => rough(cores(day.database)(nodes)))]
      : []),
    row('archive a day', (nodes) => megabytes(nodes * day.kept.archive)),
    row('store a day', (nodes) => megabytes(nodes * day.kept.store)),
    row('index, heads and keys a day', (nodes) => megabytes(nodes * day.kept.evidence)),
  ];
}

function* ids(nodes: number): Generator<string> {
  for (let node = 0; node < nodes; node++) yield randomUUID();
}

/** How much more it costs that archive and store run apart, as a ratio: median over pairs of neighbouring rounds. */
export function apartRatio(rounds: readonly Round[]): number {
  const ratios: number[] = [];
  for (let at = 1; at < rounds.length; at++) {
    const [before, here] = [rounds[at - 1]!, rounds[at]!];
    const [one, apart] = here.process ? [here, before] : [before, here];
    ratios.push(processingOf(apart).cpu / apart.batches / (processingOf(one).cpu / one.batches));
  }
  return median(ratios);
}
