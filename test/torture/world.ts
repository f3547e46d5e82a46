/**
 * A node and its centre in one home, on a small file tree whose truth is known: every account and every package line that the tree was ever given
 * has a number of its own, so that afterwards each can be counted in the store. Only DSAC's commands touch the home.
 */
import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Ran } from '../helpers/dsac.ts';
import { amqpUrl } from '../helpers/services.ts';
import { archivedBatches } from './archived.ts';
import { ending, startDsac, type Wrapper } from './command.ts';
import { ownExchange } from './exchange.ts';
import type { Scope, Tally } from './fault.ts';

export type Step = 'agent' | 'dispatch' | 'consume' | 'process';

/** How batches get from the node to the centre. */
export interface Way {
  readonly name: 'directory' | 'RabbitMQ';
  readonly config: string;
  /** The commands of one round of cron, in order. */
  readonly steps: readonly Step[];
}

/** The embedded way: one host, no servers. */
export const DIRECTORY: Way = { name: 'directory', config: '', steps: ['agent', 'dispatch', 'process'] };

/** A way through a broker: an exchange and a queue of its own, deleted at the end. */
export function brokerWay(scope: Pick<Scope, 'defer'>, url: string = amqpUrl()): Way {
  const name = ownExchange(scope);
  const broker = `url: '${url}', exchange: ${name}`;
  return {
    name: 'RabbitMQ',
    config: `dispatchers:\n  broker: { type: amqp, ${broker} }\nconsume: { ${broker}, queue: ${name} }\n`,
    steps: ['agent', 'dispatch', 'consume', 'process'],
  };
}

/** What store and archive hold, beside what they must hold. */
export type Account = Pick<Tally, 'batches' | 'lost' | 'twice' | 'problems'>;

const AGENTS = ['users', 'package-history'] as const;

export class World {
  readonly home: string;
  readonly tree: string;
  readonly way: Way;
  #users = 0;
  #packages = 0;

  private constructor(folder: string, way: Way) {
    this.home = join(folder, 'home');
    this.tree = join(folder, 'tree');
    this.way = way;
  }

  /** Lays out the tree, and the home as `dsac init` does; runs one whole round, so that baselines exist. */
  static async make(folder: string, way: Way): Promise<World> {
    const world = new World(folder, way);
    mkdirSync(join(world.home, 'etc/dsac'), { recursive: true });
    writeFileSync(join(world.home, 'etc/dsac/dsac.yaml'), way.config);
    mkdirSync(join(world.tree, 'etc'), { recursive: true });
    mkdirSync(join(world.tree, 'var/log'), { recursive: true });
    writeFileSync(join(world.tree, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/bash\n');
    writeFileSync(join(world.tree, 'etc/group'), 'root:x:0:\n');
    writeFileSync(join(world.tree, 'var/log/dpkg.log'), '');
    await world.must('init');
    if (way.name === 'RabbitMQ') await world.must('consume', '--setup');
    await world.round();
    return world;
  }

  /** Gives the tree a new account and `lines` new package lines. */
  change(lines = 3): void {
    const user = ++this.#users;
    appendFileSync(
      join(this.tree, 'etc/passwd'),
      `u${user}:x:${1000 + user}:${1000 + user}::/home/u${user}:/bin/sh\n`,
    );
    let log = '';
    for (let line = 0; line < lines; line++) {
      const stamp = new Date().toISOString().slice(0, 19).replace('T', ' ');
      const name = `p${++this.#packages}:amd64`;
      log += `${stamp} install ${name} <none> 1.0\n${stamp} status installed ${name} 1.0\n`;
    }
    appendFileSync(join(this.tree, 'var/log/dpkg.log'), log);
  }

  /** The arguments of a step of cron. */
  args(step: Step): string[] {
    const more = step === 'agent' ? [...AGENTS, '--rootfs', this.tree] : [];
    return [step, ...more, '--home', this.home];
  }

  /** Runs a command to its end. One that does not end is killed, and said so in its stderr. */
  async run(args: readonly string[], wrapper: Wrapper = [], env: Record<string, string> = {}): Promise<Ran> {
    return ending(startDsac(args, wrapper, env));
  }

  /** Runs a step as cron would, whatever it says. */
  async step(step: Step, wrapper: Wrapper = [], env: Record<string, string> = {}): Promise<Ran> {
    return this.run(this.args(step), wrapper, env);
  }

  async must(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run([...args, '--home', this.home]);
    if (code !== 0) throw new Error(`dsac ${args.join(' ')}: exit ${code}\n${stderr}${stdout}`);
    return stdout;
  }

  /** One round of cron. Throws when a step does not end with 0. */
  async round(): Promise<void> {
    for (const step of this.way.steps) {
      const { code, stderr } = await this.step(step);
      if (code !== 0) throw new Error(`${step}: exit ${code}\n${stderr}`);
    }
  }

  /** Lets all that is under way arrive: rounds without a fault until nothing waits, then one more with a last change. */
  async settle(): Promise<string[]> {
    const problems: string[] = [];
    this.change();
    for (let round = 1; round <= 4; round++) {
      let all = 0;
      for (const step of this.way.steps) {
        // A destination that waits out its backoff is driven by name.
        const named = step === 'dispatch' || step === 'process' ? this.#handlers(step) : [];
        const { code, stderr } = await this.run([step, ...named, ...this.args(step).slice(1)]);
        if (code === 0) continue;
        all++;
        if (round === 4) problems.push(`${step} still ends ${code}: ${stderr.trim()}`);
      }
      if (all === 0 && round > 1) break;
    }
    return problems;
  }

  #handlers(step: 'dispatch' | 'process'): string[] {
    const stack = step === 'dispatch' ? 'out' : 'in';
    const queue = join(this.home, 'var/spool/dsac', stack, 'queue');
    return existsSync(queue) ? readdirSync(queue) : [];
  }

  /** Counts what store and archive hold, beside what the tree was given and what agents say they have written. */
  async account(): Promise<Account> {
    const problems: string[] = [];
    const lib = join(this.home, 'var/lib/dsac');
    using store = new DatabaseSync(join(lib, 'store.db'), { readOnly: true });
    const count = (sql: string, ...values: string[]): number =>
      Number(Object.values(store.prepare(sql).get(...values)!)[0]);
    let [batches, lost, twice] = [0, 0, 0];
    for (const agent of [...AGENTS, 'receipts']) {
      const state = JSON.parse(readFileSync(join(lib, 'agents', agent, 'state.json'), 'utf8')) as {
        seq: number;
        epoch: string;
      };
      const here = count(
        'select count(distinct seq) from batches where agent = ? and epoch = ?',
        agent,
        state.epoch,
      );
      batches += state.seq;
      lost += state.seq - here;
      const epochs = count('select count(distinct epoch) from batches where agent = ?', agent);
      if (epochs !== 1) problems.push(`${agent}: ${epochs} epochs`);
    }
    const forks = count('select count(*) from forks');
    if (forks > 0) problems.push(`${forks} forks`);
    const tally = (agent: string, action: string, prefix: string, last: number): void => {
      const rows = store
        .prepare('select item, count(*) as n from events where agent = ? and action = ? group by item')
        .all(agent, action) as { item: string; n: number }[];
      const found = new Map(rows.map(({ item, n }) => [item, n]));
      for (let number = 1; number <= last; number++) {
        const n = found.get(`${prefix}${number}${agent === 'users' ? '' : '/amd64'}`) ?? 0;
        if (n === 0) lost++;
        if (n > 1) twice++;
      }
    };
    const archived = (await archivedBatches(this.home)).map(
      ({ agent, epoch, seq }) => `${agent} ${epoch} ${seq}`,
    );
    const distinct = new Set(archived);
    lost += batches - distinct.size;
    twice += archived.length - distinct.size;
    tally('users', 'added', 'user/u', this.#users);
    tally('package-history', 'installed', 'dpkg/p', this.#packages);
    const { code, stdout, stderr } = await this.run(['verify', '--home', this.home]);
    if (code !== 0) problems.push(`dsac verify ends ${code}: ${`${stderr}${stdout}`.trim().slice(-500)}`);
    return { batches, lost, twice, problems };
  }
}
