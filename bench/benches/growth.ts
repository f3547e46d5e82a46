/** What grows with a backlog, and what must not: the wait of its first batch, the cost of each, and memory. */
import { existsSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathsBelow } from '../../src/config/paths.ts';
import { amqpUrl } from '../../test/helpers/services.ts';
import { ending, killCommand, startDsac } from '../../test/torture/command.ts';
import { ownExchange } from '../../test/torture/exchange.ts';
import { pageCacheOf } from '../../test/torture/page-cache.ts';
import { alternate, type Bench, compared, type Line, leftOut, pairsOf, type Scope } from '../bench.ts';
import { messagesOf, publish, waiting } from '../broker.ts';
import { costOf, dsac, home, lacks, wallMs } from '../commands.ts';
import { empty, expected, makeBacklog, makeStock, type Stock } from '../stock.ts';

/** Batches that wait to be dispatched; and those that are consumed and processed. */
const FULL = { backlog: [1_000_000, 1_000], batches: [20_000, 10_000] } as const;
const QUICK = { backlog: [2_000, 200], batches: [400, 100] } as const;
const DEADLINE = 120_000;

/** A host with a backlog that its dispatcher begins with again and again. */
class Backlog {
  readonly #home: string;
  readonly #count: number;

  private constructor(path: string, count: number) {
    [this.#home, this.#count] = [path, count];
  }

  static async make(scope: Scope, count: number): Promise<Backlog> {
    const path = await home(scope, `backlog-${count}`, `quota: { files: ${4 * count} }\n`);
    makeBacklog(empty(pathsBelow(path).out), count);
    return new Backlog(path, count);
  }

  /** The ms from the start of `dsac dispatch` until the first file is in the other spool; all is as before then. */
  async first(): Promise<number> {
    const { in: incoming } = pathsBelow(this.#home);
    const arrived = empty(incoming);
    const before = performance.now();
    const child = startDsac(['dispatch', '--home', this.#home]);
    const ended = ending(child);
    try {
      while (readdirSync(arrived).length === 0) {
        if (performance.now() - before > DEADLINE || child.exitCode !== null)
          throw new Error(`nothing of ${this.#count} batches was dispatched`);
        await sleep(1);
      }
      return performance.now() - before;
    } finally {
      killCommand(child);
      await ended;
      this.#takeBack();
    }
  }

  /** Puts what was routed or delivered back where it was. */
  #takeBack(): void {
    const { out, in: incoming } = pathsBelow(this.#home);
    const target = join(out, 'new');
    for (const folder of [join(out, 'queue/local'), join(incoming, 'new')])
      if (existsSync(folder))
        for (const name of readdirSync(folder)) renameSync(join(folder, name), join(target, name));
    expected('files of the backlog', this.#count, readdirSync(target).length);
  }
}

async function firstBatch(scope: Scope): Promise<Line> {
  const [many, few] = (scope.quick ? QUICK : FULL).backlog;
  const [large, small] = [await Backlog.make(scope, many), await Backlog.make(scope, few)];
  const pairs = await alternate(
    pairsOf(scope),
    () => large.first(),
    () => small.first(),
  );
  const title = `first batch dispatched of ${many.toLocaleString('en')}, and of ${few.toLocaleString('en')}`;
  return compared(title, 'ms', pairs, { atMost: 2 });
}

const STEPS = ['consume', 'process archive', 'process store'] as const;

/** What each step costs for a stock: ms for a batch, and its peak memory in MiB, without the page cache of its database. */
type Costs = Record<(typeof STEPS)[number], { readonly ms: number; readonly mib: number }>;

/** Makes an empty centre that takes batches from this queue. */
async function centre(scope: Scope, queue: string): Promise<string> {
  rmSync(join(scope.scratch, 'centre'), { recursive: true, force: true });
  const consume = `consume: { url: ${amqpUrl()}, exchange: ${queue}, queue: ${queue} }\n`;
  return home(scope, 'centre', consume);
}

async function costs(scope: Scope, stock: Stock, queue: string): Promise<Costs> {
  const path = await centre(scope, queue);
  await publish(queue, await messagesOf(stock));
  const found: Partial<Costs> = {};
  for (const step of STEPS) {
    const { ms, mib } = costOf(dsac(...step.split(' '), '--home', path));
    const cache = step === 'process store' ? pageCacheOf(join(path, 'var/lib/dsac/store.db')) : 0;
    found[step] = { ms: ms / stock.batches.length, mib: mib - cache / 2 ** 20 };
  }
  expected('messages left in the queue', 0, await waiting(queue));
  return found as Costs;
}

async function flatness(scope: Scope): Promise<Line[]> {
  const missing = lacks(scope, '/usr/bin/time', ['time']);
  if (missing !== undefined) return [leftOut('cost of a batch', missing)];
  const queue = ownExchange(scope);
  wallMs(dsac('consume', '--setup', '--home', await centre(scope, queue)));
  const [many, few] = (scope.quick ? QUICK : FULL).batches;
  const stock = (batches: number): Stock =>
    makeStock(scope, `stock-${batches}`, { batches, batchBytes: 1000, nodes: 100 });
  const [large, small] = [stock(many), stock(few)];
  const runs: { ours: Costs; theirs: Costs }[] = [];
  for (let n = 0; n < pairsOf(scope); n++) {
    const [ours, theirs] = n % 2 === 0 ? [large, small] : [small, large];
    const [first, second] = [await costs(scope, ours, queue), await costs(scope, theirs, queue)];
    runs.push(n % 2 === 0 ? { ours: first, theirs: second } : { ours: second, theirs: first });
  }
  const of = `${many.toLocaleString('en')} batches, and ${few.toLocaleString('en')}`;
  const figure = (step: (typeof STEPS)[number], key: 'ms' | 'mib') =>
    runs.map(({ ours, theirs }) => ({ ours: ours[step][key], theirs: theirs[step][key] }));
  return STEPS.flatMap((step) => [
    compared(`${step}: cost of a batch, of ${of}`, 'ms', figure(step, 'ms'), { atMost: 1.2 }),
    compared(
      `${step}: memory${step === 'process store' ? ' beside the page cache' : ''}, ${of}`,
      'MiB',
      figure(step, 'mib'),
      { atMost: 1.2 },
    ),
  ]);
}

export default {
  name: 'growth',
  summary: 'the first batch of a long backlog, and the cost and memory of many batches beside those of few',
  services: true,
  run: async (scope) => [await firstBatch(scope), ...(await flatness(scope))],
} satisfies Bench as Bench;
