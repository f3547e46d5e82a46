/** A backlog that has grown for weeks: memory must not grow with it. */
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Header } from '../../../src/spool/batch.ts';
import { seal, uuidv7 } from '../../../src/spool/encode.ts';
import { batchFile } from '../../../src/spool/names.ts';
import { startDsac } from '../command.ts';
import type { Fault, Scope, Tally } from '../fault.ts';
import { pageCacheOf } from '../page-cache.ts';
import { DIRECTORY, type Step, World } from '../world.ts';

const NODES = 20;
/** Batches of the small backlog, and of the large one. */
const SIZES = [10_000, 1_000_000];
const QUICK_SIZES = [1_500, 5_000];
/** Keeps the garbage collector from letting garbage lie, so that what is left is what is in use (MiB). */
const SMALL_HEAP = '--max-old-space-size=48 --max-semi-space-size=2';
/** How much more memory the large backlog may take: the garbage collector's freedom, not growth. */
const MOST_GROWTH = 1.3;
const DEADLINE = 2 * 3_600_000;

/** Writes `count` batches of as many streams as there are nodes into the node's `new`. */
function fill(world: World, count: number): void {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const key = Buffer.from(publicKey.export({ format: 'jwk' }).x!, 'base64url').toString('base64');
  const time = new Date().toISOString();
  const folder = join(world.home, 'var/spool/dsac/out/new');
  for (let nth = 0; nth < NODES; nth++) {
    const node = randomUUID();
    let prev: string | null = null;
    for (let seq = 1; seq <= count / NODES; seq++) {
      const header: Omit<Header, 'dsac'> = {
        id: uuidv7(Date.now()),
        node,
        host: `host${nth}`,
        agent: 'things',
        kind: 'log',
        epoch: '20261101000000-aaaaaa',
        seq,
        prev,
        time,
        key,
      };
      const event = { time, action: 'happened', item: `thing/${seq}`, data: { seq } };
      const sealed = seal(header, [event], privateKey);
      writeFileSync(join(folder, batchFile(header as Header)), sealed.bytes);
      prev = sealed.sha256;
    }
  }
}

/** Runs a step until nothing of its work is left; answers the most memory that it had resident, in bytes (VmHWM, proc(5)). */
async function peakOf(world: World, step: Step, problems: string[]): Promise<number> {
  const child = startDsac(world.args(step), [], { NODE_OPTIONS: SMALL_HEAP });
  let said = '';
  child.stdout!.resume();
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const ended = new Promise<number | null>((settle) => child.once('close', settle));
  let peak = 0;
  const until = Date.now() + DEADLINE;
  while (child.exitCode === null && child.signalCode === null && Date.now() < until) {
    try {
      const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
      peak = Math.max(peak, 1024 * Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1] ?? 0));
    } catch {
      break;
    }
    await sleep(20);
  }
  const code = await ended;
  if (code !== 0) problems.push(`${step} ended ${code} and said ${said}`);
  return peak;
}

async function backlog(scope: Scope): Promise<Tally> {
  const problems: string[] = [];
  const peaks = new Map<Step, number[]>([
    ['dispatch', []],
    ['process', []],
  ]);
  let [tried, lost, twice, batches] = [0, 0, 0, 0];
  for (const size of scope.quick ? QUICK_SIZES : SIZES) {
    const folder = join(scope.scratch, String(size));
    mkdirSync(folder);
    const long = '{ deadline: 2h }';
    const world = await World.make(folder, {
      ...DIRECTORY,
      config: `quota: { files: ${4 * size} }\ndispatchers:\n  directory: ${long}\nprocessors:\n  archive: ${long}\n  store: ${long}\n`,
    });
    fill(world, size);
    for (const [step, measured] of peaks) {
      const peak = await peakOf(world, step, problems);
      measured.push(
        step === 'process' ? peak - pageCacheOf(join(world.home, 'var/lib/dsac/store.db')) : peak,
      );
      tried++;
    }
    using store = new DatabaseSync(join(world.home, 'var/lib/dsac/store.db'), { readOnly: true });
    const { here, events } = store
      .prepare(
        `select count(distinct node || '/' || item) as here, count(*) as events from events where agent = 'things'`,
      )
      .get()!;
    lost += size - Number(here);
    twice += Number(events) - Number(here);
    batches += size;
    scope.log(
      `${size} batches: ${[...peaks].map(([step, all]) => `${step} ${all.at(-1)! >> 20} MiB`).join(', ')}`,
    );
  }
  for (const [step, [small, large]] of peaks) {
    const growth = large! / small!;
    if (growth > MOST_GROWTH)
      problems.push(
        `${step}: ${growth.toFixed(2)} times the memory beside the page cache, at most ${MOST_GROWTH} is allowed`,
      );
  }
  return { fault: 'backlog, peak memory', tried, batches, lost, twice, detected: null, problems };
}

export default {
  name: 'backlog',
  promises: 'P9',
  summary: 'memory does not grow with the backlog',
  run: async (scope) => [await backlog(scope)],
} satisfies Fault as Fault;
