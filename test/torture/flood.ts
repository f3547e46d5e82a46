/**
 * Many batches of many nodes, whole and sealed as agents would have written them, put straight into the spool of one host that relays them: what a
 * fault between there and the store must neither lose nor double. Only DSAC's commands move them.
 */
import type { ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { pathsBelow } from '../../src/config/paths.ts';
import { init } from '../../src/run/init.ts';
import type { Header } from '../../src/spool/batch.ts';
import { batchFile } from '../../src/spool/names.ts';
import { FakeNode, plainEvent } from '../helpers/batches.ts';
import type { Ran } from '../helpers/dsac.ts';
import { archivedBatches } from './archived.ts';
import { ending, startDsac } from './command.ts';
import type { Tally } from './fault.ts';

const AGENT = 'logins';
/** Runs of one command after which it must have come to its end, when nothing is broken any more. */
const CALM_RUNS = 5;

/** A batch's place in its stream, as text. */
type Place = string;

/** Asks a store in SQL. */
export type Ask = (sql: string) => Promise<readonly Record<string, unknown>[]>;

/** What store and archive hold, beside what was poured. */
export interface FloodAccount extends Pick<Tally, 'batches' | 'lost' | 'twice' | 'problems'> {
  /** What is not in the store: `node seq`. */
  readonly missing: readonly string[];
}

/** Of a header, or a row that has its columns. */
function placeOf(of: Readonly<Record<string, unknown>> | Header): Place {
  return `${of.node} ${of.agent} ${of.epoch} ${of.seq}`;
}

function filesIn(directory: string): string[] {
  return existsSync(directory) ? readdirSync(directory).filter((name) => name.endsWith('.jsonl')) : [];
}

export class Flood {
  readonly home: string;
  readonly #nodes: readonly FakeNode[];
  /** The batches that there are, with their digest and the one item that each tells of. */
  readonly #truth = new Map<
    Place,
    { readonly node: string; readonly seq: number; readonly sha256: string }
  >();

  private constructor(folder: string, nodes: readonly FakeNode[]) {
    this.home = join(folder, 'home');
    this.#nodes = nodes;
  }

  /** Makes an installation with this configuration. */
  static async make(folder: string, config: string, nodes = 20): Promise<Flood> {
    const flood = new Flood(
      folder,
      Array.from({ length: nodes }, (_, n) => new FakeNode(randomUUID(), `web${n + 1}`)),
    );
    mkdirSync(join(flood.home, 'etc/dsac'), { recursive: true });
    writeFileSync(join(flood.home, 'etc/dsac/dsac.yaml'), config);
    await init(pathsBelow(flood.home), 'all');
    return flood;
  }

  /** Where a spool takes what is new. */
  newIn(stack: 'out' | 'in'): string {
    return join(this.home, 'var/spool/dsac', stack, 'new');
  }

  /** Puts `count` more batches, one of each node in turn, into spools (the outgoing one unless others are named): each into one of them, every fifth into all. */
  pour(count: number, spools: readonly string[] = [this.newIn('out')]): void {
    for (let n = 0; n < count; n++) {
      const number = this.#truth.size + 1;
      const node = this.#nodes[number % this.#nodes.length]!;
      const time = new Date().toISOString();
      const { header, trailer, bytes } = node.next(AGENT, 'log', [{ ...plainEvent(number), time }], { time });
      const { sha256 } = trailer;
      this.#truth.set(placeOf(header), { node: header.node, seq: header.seq, sha256 });
      for (const [at, spool] of spools.entries())
        if (number % 5 === 0 || number % spools.length === at)
          writeFileSync(join(spool, batchFile(header)), bytes);
    }
  }

  start(...args: string[]): ChildProcess {
    return startDsac([...args, '--home', this.home]);
  }

  async run(...args: string[]): Promise<Ran> {
    return ending(this.start(...args));
  }

  async must(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(...args);
    if (code !== 0) throw new Error(`dsac ${args.join(' ')}: exit ${code}\n${stderr}${stdout}`);
    return stdout;
  }

  /** Runs a command that nothing stands in the way of any more until it ends with 0; answers what is wrong when it does not. */
  async calm(...args: string[]): Promise<string[]> {
    let last = '';
    for (let run = 0; run < CALM_RUNS; run++) {
      const { code, stderr } = await this.run(...args);
      if (code === 0) return [];
      last = `${args.join(' ')} still ends ${code}: ${stderr.trim()}`;
    }
    return [last];
  }

  /** Loads all that waits in the centre, by name so that no backoff is waited for; answers what is wrong when it is not all loaded. */
  async load(): Promise<string[]> {
    const problems: string[] = [];
    for (let run = 0; run < CALM_RUNS && (run === 0 || this.unloaded() > 0); run++)
      problems.push(...(await this.calm('process', 'archive', 'store')));
    if (this.unloaded() > 0) problems.push(`${this.unloaded()} files still wait for the store`);
    return problems;
  }

  /** How many batches wait for the dispatcher. */
  outgoing(): number {
    const spool = join(this.home, 'var/spool/dsac/out');
    return filesIn(join(spool, 'new')).length + filesIn(join(spool, 'queue/broker')).length;
  }

  /** How many segments wait to be routed in the centre. */
  incoming(): number {
    return filesIn(this.newIn('in')).length;
  }

  /** How many files wait for the store. */
  unloaded(): number {
    return filesIn(join(this.home, 'var/spool/dsac/in/queue/store')).length;
  }

  /**
   * Counts what the store (SQLite unless `ask` is another) and the archives of this home and of `others` hold. A batch counts as lost once, wherever
   * it or its event is missing.
   */
  async account(ask: Ask = this.#askSqlite, others: readonly Flood[] = []): Promise<FloodAccount> {
    const problems: string[] = [];
    const stored = await ask('select node, agent, epoch, seq, sha256 from batches');
    const digests = new Map(stored.map((row) => [placeOf(row), row.sha256]));
    const told = await ask(
      'select b.node, b.agent, b.epoch, b.seq from events e join batches b on b.id = e.batch',
    );
    const archives = await Promise.all([this, ...others].map(({ home }) => archivedBatches(home)));
    const [inStore, inEvents, ...inArchives] = [stored, told, ...archives].map((found) =>
      Map.groupBy(found.map(placeOf), (place) => place),
    );
    const missing: string[] = [];
    let [lost, twice] = [0, 0];
    for (const [place, { node, seq, sha256 }] of this.#truth) {
      const times = (found: ReadonlyMap<Place, unknown[]> | undefined): number =>
        found?.get(place)?.length ?? 0;
      const kept = Math.max(...inArchives.map(times));
      const counts = [times(inStore), times(inEvents), kept];
      if (counts.includes(0)) lost++;
      if (counts.some((n) => n > 1)) twice++;
      if (counts[0] === 0) missing.push(`${node} ${seq}`);
      else if (digests.get(place) !== sha256) problems.push(`${place} is another batch`);
    }
    for (const place of digests.keys()) if (!this.#truth.has(place)) problems.push(`${place} was never sent`);
    const [forks] = await ask('select count(*) as n from forks');
    if (Number(forks!.n) > 0) problems.push(`${forks!.n} forks`);
    problems.push(...[this, ...others].flatMap((flood) => flood.#setAside()));
    return { batches: this.#truth.size, lost, twice, missing, problems };
  }

  readonly #askSqlite: Ask = async (sql) => {
    using store = new DatabaseSync(join(this.home, 'var/lib/dsac/store.db'), { readOnly: true });
    return store.prepare(sql).all();
  };

  /** Whole batches that were set aside by the trouble of others. */
  #setAside(): string[] {
    return ['out', 'in'].flatMap((stack) => {
      const spool = join(this.home, 'var/spool/dsac', stack);
      const folders = ['hold', 'corrupt', ...['broker', 'archive', 'store'].map((name) => `failed/${name}`)];
      return folders.flatMap((folder) => {
        const { length } = filesIn(join(spool, folder));
        return length > 0 ? [`${length} in ${stack}/${folder}`] : [];
      });
    });
  }
}
