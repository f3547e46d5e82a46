/** What reports cost on a store of many nodes and a year: beside SQL written for the question, and as a stream. */
import { spawn } from 'node:child_process';
import { readFileSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { canonical } from '../../src/spool/canonical.ts';
import { storedDate, toStored } from '../../src/store/times.ts';
import {
  absolute,
  alternate,
  type Bench,
  compared,
  type Line,
  leftOut,
  pairsOf,
  type Scope,
} from '../bench.ts';
import { type Command, costOf, dsac, home, lacks, wallMs } from '../commands.ts';
import { expected } from '../stock.ts';
import { AGENTS, makeYear } from '../year.ts';

const FULL = { events: 10_000_000, nodes: 1000 };
/** What the store takes on disk while it is made, and a report's answer beside it, in bytes. */
const ROOM = 12e9;
/** Where there is not that much. */
const SMALL = { ...FULL, events: 1_000_000 };
const QUICK = { events: 20_000, nodes: 50 };
const DAY = 86_400_000;
const PEER = fileURLToPath(new URL('../peers/package-rows.ts', import.meta.url));

/** The time until a command has written its first bytes, in ms; it is ended then. */
async function firstBytes([program, ...args]: Command): Promise<number> {
  const before = performance.now();
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise((settle) => child.once('close', settle));
  const ms = await new Promise<number>((settle, reject) => {
    child.stdout.once('data', () => settle(performance.now() - before));
    child.once('close', (code) => reject(new Error(`${args.join(' ')} said nothing and ended with ${code}`)));
  });
  child.kill('SIGKILL');
  await ended;
  return ms;
}

/** What a row of either tells, in one form; times as the store writes them. */
function rowText(line: string): string {
  const { time, node, host, action, name, arch, from, to, by, source } = JSON.parse(line) as Record<
    string,
    unknown
  >;
  return JSON.stringify([
    toStored(String(time)),
    node,
    host,
    action,
    name,
    arch,
    from,
    to,
    canonical(by),
    source,
  ]);
}

class Asked {
  readonly #scope: Scope;
  readonly #home: string;

  constructor(scope: Scope, path: string) {
    [this.#scope, this.#home] = [scope, path];
  }

  #packages(since: string, format: string): Command {
    return dsac('report', 'packages', '--since', since, '--format', format, '--home', this.#home);
  }

  #sql(since: Date): Command {
    return [process.execPath, PEER, join(this.#home, 'var/lib/dsac/store.db'), storedDate(since)];
  }

  /** What a command writes, in the order of its lines. */
  #lines(name: string, command: Command): string[] {
    const path = join(this.#scope.scratch, name);
    wallMs(['bash', '-c', 'out=$1; shift; "$@" > "$out"', 'bash', path, ...command]);
    return readFileSync(path, 'utf8').trimEnd().split('\n');
  }

  async lines(): Promise<Line[]> {
    const week = new Date(Date.now() - 7 * DAY);
    const [report, sql] = [this.#packages(week.toISOString(), 'ndjson'), this.#sql(week)];
    const ours = this.#lines('ours', report).map(rowText).sort();
    const theirs = this.#lines('theirs', sql).map(rowText).sort();
    const differing = ours.findIndex((row, at) => row !== theirs[at]);
    expected('rows of 7 days in SQL', ours.length, theirs.length);
    if (differing >= 0) throw new Error(`the report says ${ours[differing]}, SQL ${theirs[differing]}`);
    const pairs = pairsOf(this.#scope);
    const beside = await alternate(
      pairs,
      () => wallMs(report),
      () => wallMs(sql),
    );
    const first = await alternate(
      pairs,
      () => firstBytes(report),
      () => wallMs(dsac('--version')),
    );
    return [
      compared(`report packages, 7 days, ${ours.length} rows, and SQL`, 'ms', beside, { atMost: 1.3 }),
      absolute(
        'report packages, 7 days: first row, beyond a start',
        'ms',
        first.map((pair) => pair.ours - pair.theirs),
        { atMost: 300 },
      ),
      ...(await this.#year()),
      await this.#completeness(),
    ];
  }

  async #year(): Promise<Line[]> {
    const [csv, month] = [this.#packages('365d', 'csv'), this.#packages('30d', 'csv')];
    const rows = this.#lines('year.csv', csv).length - 1;
    const title = `report packages, 365 days as CSV, ${rows} rows`;
    const speed = (values: readonly number[]): Line =>
      absolute(
        title,
        'rows/s',
        values.map((ms) => (1000 * rows) / ms),
        { atLeast: 200_000 },
      );
    const missing = lacks(this.#scope, '/usr/bin/time', ['time']);
    if (missing !== undefined) {
      const times = Array.from({ length: pairsOf(this.#scope) }, () => wallMs(csv));
      return [speed(times), leftOut(`${title}: memory`, missing)];
    }
    const times: number[] = [];
    const peaks = await alternate(
      pairsOf(this.#scope),
      () => {
        const { ms, mib } = costOf(csv);
        times.push(ms);
        return mib;
      },
      () => costOf(month).mib,
    );
    return [speed(times), compared(`${title}, and 30 days: memory`, 'MiB', peaks, { atMost: 1.2 })];
  }

  async #completeness(): Promise<Line> {
    const { nodes } = this.#scope.quick ? QUICK : FULL;
    const command = dsac('report', 'completeness', '--format', 'ndjson', '--home', this.#home);
    expected('streams in the report', nodes * AGENTS.length, this.#lines('completeness', command).length);
    const seconds: number[] = [];
    for (let n = 0; n < pairsOf(this.#scope); n++) seconds.push(wallMs(command) / 1000);
    return absolute(`report completeness, ${nodes} nodes x ${AGENTS.length} streams`, 's', seconds, {
      atMost: 1,
    });
  }
}

/** How large a store is made; says so where it is not what the targets are for. */
function sizeFor({ quick, scratch, log }: Scope): typeof FULL {
  if (quick) return QUICK;
  const { bavail, bsize } = statfsSync(scratch);
  if (bavail * bsize >= ROOM) return FULL;
  log(`${scratch} has no ${ROOM / 1e9} GB left: a store of ${SMALL.events} events instead of ${FULL.events}`);
  return SMALL;
}

export default {
  name: 'reports',
  summary: 'reports on a store of many nodes and a year, beside SQL written for the question',
  async run(scope) {
    const size = sizeFor(scope);
    const path = await home(scope, 'centre');
    const before = performance.now();
    const { events, batches } = await makeYear(path, { ...size, seed: scope.seed });
    const seconds = ((performance.now() - before) / 1000).toFixed(0);
    scope.log(
      `made a store of ${events} events in ${batches} batches of ${size.nodes} nodes in ${seconds} s`,
    );
    const lines = await new Asked(scope, path).lines();
    return lines.map((line) => ({
      ...line,
      name: `${line.name} (store of ${size.events.toLocaleString('en')} events)`,
    }));
  },
} satisfies Bench as Bench;
