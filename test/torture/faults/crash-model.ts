/** Power cut at each step of agents and both stacks, on a modelled disk, in the states that the disk may then be in. */
import { mkdirSync } from 'node:fs';
import * as z from 'zod';
import { type Paths, pathsBelow } from '../../../src/config/paths.ts';
import { System } from '../../../src/host/system.ts';
import { silentLog } from '../../../src/log.ts';
import { type Agent, defineInventory, defineLog } from '../../../src/plugin/agent.ts';
import { type AnyHandler, DELIVERED, defineDispatcher, type Parcel } from '../../../src/plugin/handler.ts';
import { collect } from '../../../src/run/collect.ts';
import { deliver } from '../../../src/run/deliver.ts';
import { createIdentity, loadIdentity } from '../../../src/run/identity.ts';
import { type Origin, originOf } from '../../../src/run/stream.ts';
import type { Batch } from '../../../src/spool/batch.ts';
import { canonical, stateDigest } from '../../../src/spool/canonical.ts';
import { DEFAULT_QUOTA } from '../../../src/spool/quota.ts';
import { Spool } from '../../../src/spool/spool.ts';
import { type Fault, randomFrom, type Scope, type Tally } from '../fault.ts';
import { Crash, ModelDisk } from '../model-disk.ts';

const HOUR = 3_600_000;
/** Ticks of cron before the one that is cut, and after it. */
const BEFORE = 2;
const AFTER = 2;
/** States tried for each step. */
const MOST_STATES = 24;
/** How often the recovery is cut too. */
const AGAIN = 1 / 4;
/** Steps that the quick form tries, about, and states for each. */
const QUICK_STEPS = 60;
const QUICK_STATES = 3;

const fields = z.strictObject({ n: z.number() });

/** What agents look at: one more thing and two more lines each tick, one thing changed, one gone. */
class Ground {
  tick = 0;

  get things(): Map<string, number> {
    const things = new Map<string, number>();
    for (let n = Math.max(0, this.tick - 3); n <= this.tick; n++)
      things.set(`thing/${n}`, n === this.tick ? 0 : 1);
    return things;
  }

  get lines(): number {
    return 2 * this.tick;
  }

  agents(): Agent[] {
    const { things, lines } = this;
    const shelf = defineInventory({
      name: 'shelf',
      summary: 'things',
      every: '1h',
      options: z.strictObject({}),
      fields,
      actions: { changed: 'changed' },
      describe: () => ({ action: 'changed' }),
      sources: { all: () => Array.from(things, ([key, n]) => ({ key, fields: { n } })) },
    });
    const diary = defineLog({
      name: 'diary',
      summary: 'lines',
      every: '1h',
      options: z.strictObject({}),
      fields,
      actions: { written: 'written' },
      sources: {
        *book({ now }, cursor) {
          for (let n = Number(cursor ?? 0) + 1; n <= lines; n++)
            yield {
              event: { time: now.toISOString(), action: 'written', item: `line/${n}`, data: { n } },
              cursor: n,
            };
        },
      },
    });
    return [shelf as Agent, diary as Agent];
  }
}

/** The far end: what a database would hold, which is not on the modelled disk. */
type Sink = Map<string, Batch>;

interface Place {
  readonly paths: Paths;
  readonly origin: Origin;
}

function handler(take: (parcels: readonly Parcel[]) => Promise<void>): AnyHandler {
  return defineDispatcher({
    name: 'model',
    summary: 'takes all',
    options: z.strictObject({}),
    open: async () => ({
      async deliver(parcels) {
        await take(parcels);
        return parcels.map(() => DELIVERED);
      },
      close: async () => {},
    }),
  });
}

/** A node and its centre, alive on one disk. */
class Life {
  readonly #place: Place;
  readonly #disk: ModelDisk;
  readonly #ground: Ground;
  readonly sink: Sink;
  readonly problems: string[];

  constructor(place: Place, disk: ModelDisk, ground: Ground, sink: Sink, problems: string[]) {
    this.#place = place;
    this.#disk = disk;
    this.#ground = ground;
    this.sink = sink;
    this.problems = problems;
  }

  /** One turn of cron: agents, dispatch, process. */
  async turn(): Promise<void> {
    const { paths, origin } = this.#place;
    const now = new Date(Date.parse('2026-11-24T00:00:00.000Z') + this.#ground.tick * HOUR);
    const common = {
      quota: DEFAULT_QUOTA,
      paths,
      log: silentLog,
      clock: () => now,
      signal: new AbortController().signal,
    };
    const out = new Spool(paths.out, { disk: this.#disk });
    const central = new Spool(paths.in, { disk: this.#disk });
    const outcomes = await collect(
      {
        ...common,
        origin,
        spool: out,
        system: new System('/'),
        snapshotMs: 3 * HOUR,
        onlyDue: false,
        build: 'model',
      },
      this.#ground.agents().map((agent) => ({
        name: agent.name,
        load: async () => agent,
        options: {},
        settings: {},
        everyMs: HOUR,
        timeoutMs: 60_000,
      })),
    );
    this.#stopWhenDown();
    for (const { outcome, agent, reason } of outcomes)
      if (outcome !== 'ok') this.problems.push(`agent ${agent}: ${outcome}: ${reason}`);
    const hand = handler(async (parcels) => {
      for (const { path } of parcels) await central.adopt(path);
      await central.settle();
    });
    const load = handler(async (parcels) => {
      for (const { batch } of parcels) this.#load(batch);
    });
    for (const [stack, spool, take] of [
      ['out', out, hand],
      ['in', central, load],
    ] as const) {
      const { deliveries, routed } = await deliver(
        { ...common, spool, stack, store: {}, random: () => 0, print: () => {}, only: ['model'] },
        [{ name: 'model', handler: take, options: {}, agents: ['*'], deadlineMs: 60_000, attempts: 3 }],
      );
      this.#stopWhenDown();
      for (const { outcome, reason, failed } of deliveries)
        if (outcome !== 'ok' || failed > 0)
          this.problems.push(`${stack}: ${outcome}: ${reason} (${failed} failed)`);
      if (routed !== undefined && routed.corrupt + routed.unreadable > 0)
        this.problems.push(`${stack}: ${routed.corrupt} corrupt, ${routed.unreadable} unreadable`);
    }
  }

  /** Whatever caught the crash and went on did so on a machine that is off. */
  #stopWhenDown(): void {
    if (this.#disk.steps >= this.#disk.crashAt) throw new Crash('down');
  }

  #load(batch: Batch): void {
    const { agent, epoch, seq } = batch.header;
    const key = `${agent} ${epoch} ${seq}`;
    const here = this.sink.get(key);
    if (here !== undefined && here.trailer.sha256 !== batch.trailer.sha256)
      this.problems.push(`fork at ${agent} ${seq}`);
    this.sink.set(key, batch);
  }
}

interface Verdict {
  readonly batches: number;
  readonly lost: number;
  readonly twice: number;
  readonly problems: readonly string[];
}

/** Reads the far end as an auditor does. */
function judge(sink: Sink, ground: Ground): Verdict {
  const problems: string[] = [];
  let [lost, twice] = [0, 0];
  for (const agent of ['shelf', 'diary', 'receipts']) {
    const batches = [...sink.values()]
      .filter(({ header }) => header.agent === agent)
      .sort((a, b) => a.header.seq - b.header.seq);
    if (new Set(batches.map(({ header }) => header.epoch)).size !== 1)
      problems.push(`${agent}: another epoch`);
    const last = batches.at(-1)?.header.seq ?? 0;
    lost += last - batches.length;
    for (const [index, { header }] of batches.entries())
      if (index > 0 && header.prev !== batches[index - 1]!.trailer.sha256)
        problems.push(`${agent}: the chain breaks at ${header.seq}`);
    if (agent === 'shelf') problems.push(...replay(batches, ground));
    if (agent !== 'diary') continue;
    const told = batches.flatMap((batch) => [...batch.events()].map(({ item }) => item!));
    lost += ground.lines - new Set(told).size;
    twice += told.length - new Set(told).size;
  }
  return { batches: sink.size, lost, twice, problems };
}

/** Whether the inventory that events lead to is, after each batch, the one that its digest says, and in the end the one that is. */
function replay(batches: readonly Batch[], ground: Ground): string[] {
  const problems: string[] = [];
  const state = new Map<string, string>();
  for (const batch of batches) {
    const events = [...batch.events()];
    if (batch.header.kind === 'snapshot' && batch.header.seq === 1)
      for (const { item, after } of events) state.set(item!, canonical(after));
    if (batch.header.kind === 'changes')
      for (const { item, after } of events) after ? state.set(item!, canonical(after)) : state.delete(item!);
    if (stateDigest([...state]) !== batch.header.state?.digest)
      problems.push(`the digest of shelf ${batch.header.seq} differs`);
  }
  const expected = Array.from(ground.things, ([key, n]) => [key, canonical({ n })] as const);
  if (stateDigest(expected) !== stateDigest([...state])) problems.push('the inventory at the end differs');
  return problems;
}

interface Cut {
  readonly disk: ModelDisk;
  readonly ground: Ground;
  readonly sink: Sink;
}

/** Lives until `step` of the last turn, or to its end. */
async function untilCrash(place: Place, step: number): Promise<Cut & { readonly steps: number }> {
  const disk = new ModelDisk();
  const ground = new Ground();
  const sink: Sink = new Map();
  const life = new Life(place, disk, ground, sink, []);
  for (let turn = 0; turn < BEFORE; turn++) {
    ground.tick++;
    await life.turn();
  }
  const before = disk.steps;
  disk.crashAt = before + step;
  ground.tick++;
  try {
    await life.turn();
  } catch (error) {
    if (disk.steps < disk.crashAt) throw error;
  }
  return { disk, ground, sink, steps: disk.steps - before };
}

/** Goes on from what a crash has left, with another crash at step `again` of the recovery where it comes to that, and judges. */
async function tryState(
  place: Place,
  disk: ModelDisk,
  { ground, sink }: Cut,
  again: number,
  random: () => number,
): Promise<Verdict> {
  const own = Object.assign(new Ground(), { tick: ground.tick });
  let life = new Life(place, disk, own, new Map(sink), []);
  disk.crashAt = again;
  try {
    await life.turn();
  } catch (error) {
    if (disk.steps < disk.crashAt) throw error;
    const [after] = disk.afterCrash(1, random);
    life = new Life(place, after!, own, life.sink, life.problems);
    await life.turn();
  }
  disk.crashAt = Number.POSITIVE_INFINITY;
  for (let turn = 0; turn < AFTER; turn++) {
    own.tick++;
    await life.turn();
  }
  const verdict = judge(life.sink, own);
  return { ...verdict, problems: [...life.problems, ...verdict.problems] };
}

async function powerCuts(scope: Scope): Promise<Tally> {
  const paths = pathsBelow(scope.scratch);
  mkdirSync(paths.etc, { recursive: true });
  await createIdentity(paths);
  const place: Place = {
    paths,
    origin: await originOf(new System('/'), await loadIdentity(paths), 'model'),
  };
  const random = randomFrom(scope.seed);
  const { steps } = await untilCrash(place, Number.POSITIVE_INFINITY);
  const all = Array.from({ length: steps }, (_, step) => step);
  const chosen = scope.quick ? all.filter(() => random() < QUICK_STEPS / steps) : all;
  const sum = { batches: 0, lost: 0, twice: 0 };
  const problems: string[] = [];
  let tried = 0;
  for (const step of chosen) {
    const cut = await untilCrash(place, step);
    for (const disk of cut.disk.afterCrash(scope.quick ? QUICK_STATES : MOST_STATES, random)) {
      tried++;
      const again = random() < AGAIN ? Math.floor(random() * steps) : Number.POSITIVE_INFINITY;
      const verdict = await tryState(place, disk, cut, again, random);
      sum.batches += verdict.batches;
      sum.lost += verdict.lost;
      sum.twice += verdict.twice;
      for (const problem of verdict.problems.slice(0, 3)) problems.push(`step ${step}: ${problem}`);
    }
  }
  scope.log(`cut at ${chosen.length} of ${steps} steps, ${tried} states`);
  return {
    fault: 'power cut, modelled disk',
    tried,
    detected: null,
    ...sum,
    problems: problems.slice(0, 20),
  };
}

export default {
  name: 'crash-model',
  promises: 'P1 P2 P3',
  summary:
    'whatever a power cut leaves of what was not synced, nothing committed is lost and nothing is told twice',
  run: async (scope) => [await powerCuts(scope)],
} satisfies Fault as Fault;
