/**
 * A relay and a centre on this machine, with a broker between: batches are put into the relay's spool, and only DSAC's commands move them from there to
 * archive and store.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type Paths, pathsBelow } from '../../src/config/paths.ts';
import { init } from '../../src/run/init.ts';
import { segmentNamer } from '../../src/spool/names.ts';
import { onDatabase } from '../../test/helpers/services.ts';
import { deleteAll } from '../../test/torture/exchange.ts';
import { dsac, ServerMeter, type Spent, total } from './meter.ts';
import type { FleetNode, Sent } from './node.ts';

/** A relay's segment holds what one of `dsac consume` holds. */
const SEGMENT_BATCHES = 500;
const SEGMENT_BYTES = 8 * 1024 * 1024;

/** Where the batches go. */
export interface Services {
  readonly broker: string;
  /** A MariaDB server for the store; SQLite when left out. */
  readonly database?: string;
}

/** What one round cost. `process` is one run of all processors, or else `archive` and `store` are runs of their own. */
export interface Round {
  readonly batches: number;
  readonly events: number;
  readonly bytes: number;
  readonly dispatch: Spent;
  readonly consume: Spent;
  readonly process?: Spent;
  readonly archive?: Spent;
  readonly store?: Spent;
  /** CPU seconds of the servers in this round. */
  readonly broker: number;
  readonly database: number;
}

/** CPU seconds of commands that find nothing to do. */
export interface Idle {
  readonly dispatch: number;
  readonly consume: number;
  readonly process: number;
}

/** Bytes on disk. */
export interface Kept {
  readonly archive: number;
  readonly store: number;
  /** The archive's index, the countersigned heads and the known keys. */
  readonly evidence: number;
}

function sizeOf(path: string, wanted = (_name: string): boolean => true): number {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return 0;
  if (!stat.isDirectory()) return wanted(path) ? stat.size : 0;
  return readdirSync(path).reduce((sum, name) => sum + sizeOf(join(path, name), wanted), 0);
}

const isSegment = (path: string): boolean => path.endsWith('.jsonl.zst');

type Ask = (sql: string) => Promise<readonly Record<string, unknown>[]>;

/** One row per stream: how many batches, how many of them different, and the range of their numbers. */
const STREAMS =
  'select node, agent, epoch, count(*) as n, count(distinct seq) as d, max(seq) as last from batches group by node, agent, epoch';

export class Centre {
  readonly #folder = mkdtempSync(join(tmpdir(), 'dsac-fleet-'));
  readonly #relay: Paths = pathsBelow(join(this.#folder, 'relay'));
  readonly #centre: Paths = pathsBelow(join(this.#folder, 'centre'));
  readonly #services: Services;
  readonly #name = `dsac-fleet-${randomBytes(8).toString('hex')}`;
  readonly #segmentName = segmentNamer(Date.now());
  readonly #broker: ServerMeter;
  readonly #database: ServerMeter | undefined;
  readonly #schema = `dsac_fleet_${randomBytes(8).toString('hex')}`;
  /** Whether the next round processes in two runs. */
  #apart = false;
  /** How many events of changes and logs went in. */
  #told = 0;

  private constructor(services: Services) {
    this.#services = services;
    this.#broker = ServerMeter.at(services.broker);
    this.#database = services.database === undefined ? undefined : ServerMeter.at(services.database);
  }

  /** Installs both homes, and declares exchange and queue under a name of their own. */
  static async make(services: Services): Promise<Centre> {
    const centre = new Centre(services);
    try {
      await centre.#install();
      return centre;
    } catch (error) {
      await centre.remove();
      throw error;
    }
  }

  async #install(): Promise<void> {
    const broker = `url: '${this.#services.broker}', exchange: ${this.#name}`;
    const store = this.#services.database === undefined ? '' : `store: { url: '${this.#url()}' }\n`;
    const configs: [Paths, string][] = [
      [this.#relay, `dispatchers:\n  broker: { type: amqp, ${broker}, deadline: 1h }\n`],
      [
        this.#centre,
        `consume: { ${broker}, queue: ${this.#name} }\nprocessors:\n  archive: { deadline: 1h }\n  store: { deadline: 1h }\n${store}`,
      ],
    ];
    if (this.#services.database !== undefined)
      await onDatabase(this.#services.database, `create database ${this.#schema} character set utf8mb4`);
    for (const [paths, config] of configs) {
      mkdirSync(paths.etc, { recursive: true });
      writeFileSync(join(paths.etc, 'dsac.yaml'), `${config}quota: { out: 50GiB, in: 50GiB }\n`);
      await init(paths, 'all');
    }
    await dsac(this.#centre.home, 'consume', '--setup');
  }

  #url(): string {
    const url = new URL(this.#services.database!);
    url.pathname = `/${this.#schema}`;
    return url.href;
  }

  /** What each command costs when there is nothing to do: the median of five. */
  async idle(): Promise<Idle> {
    const median = async ({ home }: Paths, command: string): Promise<number> => {
      const costs: number[] = [];
      for (let run = 0; run < 5; run++) costs.push((await dsac(home, command)).cpu);
      return costs.sort((a, b) => a - b)[2]!;
    };
    return {
      dispatch: await median(this.#relay, 'dispatch'),
      consume: await median(this.#centre, 'consume'),
      process: await median(this.#centre, 'process'),
    };
  }

  /** Sends these batches all the way, and measures each part. Every second time archive and store are runs of their own. */
  async round(sent: readonly Sent[]): Promise<Round> {
    const apart = this.#apart;
    this.#apart = !apart;
    this.#pour(sent);
    // Named, so that a try that failed is not followed by a wait.
    this.#broker.read();
    const dispatch = await dsac(this.#relay.home, 'dispatch', 'broker');
    const consume = await dsac(this.#centre.home, 'consume');
    const broker = this.#broker.read();
    this.#database?.read();
    const { home } = this.#centre;
    const processing = apart
      ? { archive: await dsac(home, 'process', 'archive'), store: await dsac(home, 'process', 'store') }
      : { process: await dsac(home, 'process', 'archive', 'store') };
    return {
      batches: sent.length,
      events: sent.reduce((sum, { events }) => sum + events, 0),
      bytes: sent.reduce((sum, { bytes }) => sum + bytes.length, 0),
      dispatch,
      consume,
      ...processing,
      broker,
      database: this.#database?.read() ?? 0,
    };
  }

  #pour(sent: readonly Sent[]): void {
    let segment: Buffer[] = [];
    let size = 0;
    const close = (): void => {
      if (segment.length > 0)
        writeFileSync(join(this.#relay.out, 'new', this.#segmentName()), Buffer.concat(segment));
      [segment, size] = [[], 0];
    };
    for (const { bytes, kind, events } of sent) {
      if (kind === 'changes' || kind === 'log') this.#told += events;
      segment.push(bytes);
      size += bytes.length;
      if (segment.length >= SEGMENT_BATCHES || size >= SEGMENT_BYTES) close();
    }
    close();
  }

  /** How much is kept now. */
  async kept(): Promise<Kept> {
    const { lib } = this.#centre;
    const archive = sizeOf(join(lib, 'archive'), isSegment);
    const evidence =
      sizeOf(join(lib, 'archive'), (path) => !isSegment(path)) +
      sizeOf(join(lib, 'heads')) +
      sizeOf(join(lib, 'trust'));
    return { archive, evidence, store: await this.#storeSize() };
  }

  async #storeSize(): Promise<number> {
    if (this.#services.database === undefined)
      return sizeOf(this.#centre.lib, (path) => path.includes('/store.db'));
    const [row] = await onDatabase(
      this.#services.database,
      `select sum(file_size) as size from information_schema.innodb_sys_tablespaces where name like '${this.#schema}/%'`,
    );
    return Number(row!.size);
  }

  /** Whether every batch that went in is in store and archive, once, with its digest, and nothing else is; answers what is wrong. */
  async problems(nodes: readonly FleetNode[]): Promise<string[]> {
    const { lib } = this.#centre;
    const ask = this.#services.database === undefined ? sqlite(join(lib, 'store.db')) : mysql(this.#url());
    const problems = [
      ...compared('store', nodes, await ask(STREAMS)),
      ...compared('archive', nodes, await sqlite(join(lib, 'archive/index.db'))(STREAMS)),
      ...heads(nodes, await ask('select node, agent, epoch, last_sha256 from streams')),
    ];
    const count = async (what: string): Promise<number> =>
      Number(Object.values((await ask(`select count(*) as n from ${what}`))[0]!)[0]);
    const events = await count('events');
    if (events !== this.#told) problems.push(`store: ${this.#told} events were told, it has ${events}`);
    for (const table of ['forks', 'mismatches', 'named_heads']) {
      const rows = await count(table);
      if (rows > 0) problems.push(`store: ${rows} rows in ${table}`);
    }
    for (const spool of [this.#relay.out, this.#centre.in])
      for (const state of ['new', 'queue', 'failed', 'hold', 'corrupt']) {
        const left = sizeOf(join(spool, state));
        if (left > 0) problems.push(`${left} bytes are left in ${join(spool, state)}`);
      }
    return problems;
  }

  /** Takes away all that was made. */
  async remove(): Promise<void> {
    rmSync(this.#folder, { recursive: true, force: true });
    await deleteAll(this.#services.broker, this.#name);
    if (this.#services.database !== undefined)
      await onDatabase(this.#services.database, `drop database if exists ${this.#schema}`);
  }
}

function sqlite(path: string): Ask {
  return async (sql) => {
    using database = new DatabaseSync(path, { readOnly: true });
    return database.prepare(sql).all();
  };
}

function mysql(url: string): Ask {
  return (sql) => onDatabase(url, sql);
}

const keyOf = (node: unknown, agent: unknown, epoch: unknown): string => `${node} ${agent} ${epoch}`;

/** Says of at most a few what is wrong with them. */
function few(problems: readonly string[]): string[] {
  const shown = problems.slice(0, 5);
  return problems.length > 5 ? [...shown, `… and ${problems.length - 5} more`] : shown;
}

/** Holds what was sent against one row per stream. */
function compared(
  where: string,
  nodes: readonly FleetNode[],
  rows: readonly Record<string, unknown>[],
): string[] {
  const found = new Map(rows.map((row) => [keyOf(row.node, row.agent, row.epoch), row]));
  const problems: string[] = [];
  for (const { id, chains } of nodes)
    for (const [agent, { epoch, seq }] of chains) {
      const key = keyOf(id, agent, epoch);
      const { n = 0, d = 0, last = 0 } = found.get(key) ?? {};
      found.delete(key);
      if (Number(n) !== seq || Number(d) !== seq || Number(last) !== seq)
        problems.push(`${where}: ${key}: ${seq} batches were sent, it has ${n}, ${d} of them different`);
    }
  for (const key of found.keys()) problems.push(`${where}: ${key} was never sent`);
  return few(problems);
}

/** Each batch names the one before: the digest of the last vouches for all. */
function heads(nodes: readonly FleetNode[], rows: readonly Record<string, unknown>[]): string[] {
  const found = new Map(rows.map((row) => [keyOf(row.node, row.agent, row.epoch), row.last_sha256]));
  const problems: string[] = [];
  for (const { id, chains } of nodes)
    for (const [agent, { epoch, head }] of chains) {
      const key = keyOf(id, agent, epoch);
      if (found.get(key) !== head) problems.push(`store: ${key} ends with another batch than was sent`);
    }
  return few(problems);
}

/** All processing of a round, in one run or apart. */
export function processingOf({ process, archive, store }: Round): Spent {
  return process ?? total(archive!, store!);
}
