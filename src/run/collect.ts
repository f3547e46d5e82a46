/**
 * Runs agents, and does everything that they have in common: is it due, lock, deadline, sources, comparison with the baseline, batches,
 * commit. Every run ends with one receipt batch.
 */
import { join } from 'node:path';
import { orAbort } from '../abort.ts';
import type { Paths } from '../config/paths.ts';
import { DsacError, reasonOf } from '../errors.ts';
import { type Lock, takeLock } from '../lock.ts';
import type { Log } from '../log.ts';
import type { AgentContext, InventoryAgent, LogAgent } from '../plugin/agent.ts';
import type { System } from '../source/system.ts';
import type { BatchEvent, Fields } from '../spool/batch.ts';
import type { Spool } from '../spool/spool.ts';
import { diff, snapshotEvents } from './diff.ts';
import { outcomeOf, readInventory, readStretches, type SourceOutcome, type Stretch } from './sources.ts';
import { type AgentState, AgentStore, type Baseline, firstState, type SpooledBatch } from './state.ts';
import { newEpoch, nextBatch, type Origin } from './stream.ts';

/** The stream that receipts travel in. */
export const RECEIPTS = 'receipts';
/** How long a finishing run waits for another that is writing its receipt, in ms. */
const RECEIPT_WAIT = 30_000;
/** A log batch is closed when it holds this many events or bytes. */
const BATCH_EVENTS = 5000;
const BATCH_BYTES = 4 * 1024 * 1024;

/** One agent as configured for this node. */
export interface Task {
  readonly name: string;
  readonly agent: InventoryAgent | LogAgent;
  readonly options: unknown;
  readonly everyMs: number;
  readonly timeoutMs: number;
}

export interface CollectRun {
  readonly origin: Origin;
  readonly paths: Paths;
  readonly spool: Spool;
  readonly system: System;
  /** How often an inventory is sent whole, in ms. */
  readonly snapshotMs: number;
  readonly log: Log;
  readonly clock: () => Date;
  readonly signal: AbortSignal;
  /** Skip agents that ran less than their interval ago. */
  readonly onlyDue: boolean;
}

/** How one agent fared. `busy`: another process runs it; `not-due`: it ran recently. Neither gets a receipt. */
export interface AgentOutcome {
  readonly agent: string;
  readonly outcome: 'ok' | 'absent' | 'failed' | 'busy' | 'not-due';
  readonly reason?: string;
  readonly started: string;
  readonly durationMs: number;
  readonly events: number;
  readonly items?: number;
  readonly everyMs: number;
  readonly sources: readonly SourceOutcome[];
  readonly stream?: { readonly epoch: string; readonly seq: number; readonly sha256: string };
}

/** What a finished reading of an agent amounts to. */
interface Reading {
  readonly state: AgentState;
  readonly events: number;
  readonly items?: number;
  readonly sources: readonly SourceOutcome[];
}

/** One agent's run: its lock is held, its state recovered. */
class AgentRun {
  readonly #run: CollectRun;
  readonly #task: Task;
  readonly #store: AgentStore;
  readonly #context: AgentContext;
  #state: AgentState;

  constructor(
    run: CollectRun,
    task: Task,
    store: AgentStore,
    state: AgentState,
    started: Date,
    signal: AbortSignal,
  ) {
    this.#run = run;
    this.#task = task;
    this.#store = store;
    this.#state = state;
    this.#context = {
      options: task.options,
      system: run.system,
      log: run.log,
      signal,
      now: started,
      digest: (secret) => run.origin.identity.digest(secret),
    };
  }

  async read(): Promise<Reading> {
    const { agent } = this.#task;
    return agent.type === 'inventory' ? this.#readInventory(agent) : this.#readLog(agent);
  }

  async #readInventory(agent: InventoryAgent): Promise<Reading> {
    const state = this.#state;
    const first = state.seq === 0;
    const before = await this.#store.baseline(state);
    // A source that never returns must not hold the run.
    const { items, sources } = await orAbort(
      readInventory(agent, this.#context, before),
      this.#context.signal,
    );
    const read = sources.filter(({ status }) => status === 'ok').map(({ name }) => name);
    if (read.length === 0) return this.#nothing(sources);

    const time = this.#context.now.toISOString();
    const events = first ? [] : diff(agent, before, items, new Set(state.known), time);
    const batches: SpooledBatch[] = [];
    if (events.length > 0) batches.push(this.#next('changes', events, items));
    const whole = first || this.#since(state.snapshot) >= this.#run.snapshotMs;
    if (whole) batches.push(this.#next('snapshot', snapshotEvents(items, time), items));
    const known = [...new Set([...state.known, ...read])].sort();
    await this.#commit(
      batches,
      { ran: time, known, ...(whole ? { snapshot: time } : {}) },
      batches.length > 0 ? items : undefined,
    );
    return { state: this.#state, events: events.length, items: items.size, sources };
  }

  async #readLog(agent: LogAgent): Promise<Reading> {
    const sources: SourceOutcome[] = [];
    let ready: Stretch[] = [];
    let total = 0;
    for (const name of Object.keys(agent.sources)) {
      let events = 0;
      try {
        const stretches = readStretches(agent, name, this.#context, this.#state.cursors[name]);
        for (;;) {
          const { done, value } = await orAbort(stretches.next(), this.#context.signal);
          if (done) break;
          ready.push(value);
          events += value.events.length;
          if (isFull(ready)) {
            await this.#commitStretches(ready);
            ready = [];
          }
        }
        sources.push({ name, status: 'ok', events });
      } catch (error) {
        sources.push({ ...outcomeOf(name, error), events });
      }
      total += events;
    }
    if (sources.every(({ status }) => status !== 'ok') && ready.length === 0) return this.#nothing(sources);
    await this.#commitStretches(ready, { ran: this.#context.now.toISOString() });
    return { state: this.#state, events: total, sources };
  }

  /** No source could be read: nothing moves, except that an agent whose sources are all absent has had its turn. */
  async #nothing(sources: readonly SourceOutcome[]): Promise<Reading> {
    const allAbsent = sources.every(({ status }) => status === 'absent');
    if (allAbsent) await this.#commit([], { ran: this.#context.now.toISOString() });
    return { state: this.#state, events: 0, sources };
  }

  async #commitStretches(stretches: readonly Stretch[], changes: Partial<AgentState> = {}): Promise<void> {
    const events = stretches.flatMap((stretch) => stretch.events);
    const cursors: Record<string, unknown> = { ...this.#state.cursors };
    for (const { source, cursor } of stretches) if (cursor !== undefined) cursors[source] = cursor;
    const batches = events.length > 0 ? [this.#next('log', events)] : [];
    await this.#commit(batches, { ...changes, cursors: cursors as AgentState['cursors'] });
  }

  #next(kind: 'snapshot' | 'changes' | 'log', events: BatchEvent[], items?: Baseline): SpooledBatch {
    const content = { agent: this.#task.name, kind, events, ...(items ? { items } : {}) };
    const { batch, state } = nextBatch(this.#run.origin, this.#state, content, this.#context.now);
    this.#state = state;
    return batch;
  }

  async #commit(
    batches: readonly SpooledBatch[],
    changes: Partial<AgentState>,
    baseline?: Baseline,
  ): Promise<void> {
    this.#context.signal.throwIfAborted();
    this.#state = await this.#store.commit({ ...this.#state, ...changes }, batches, baseline);
  }

  /** Milliseconds since `time`; endless when there is none, or when it lies in the future (the clock went back). */
  #since(time: string | null): number {
    return elapsed(time, this.#context.now);
  }
}

function isFull(stretches: readonly Stretch[]): boolean {
  let events = 0;
  let size = 0;
  for (const stretch of stretches) {
    events += stretch.events.length;
    size += stretch.size;
  }
  return events >= BATCH_EVENTS || size >= BATCH_BYTES;
}

function elapsed(time: string | null, now: Date): number {
  if (time === null) return Number.POSITIVE_INFINITY;
  const ms = now.getTime() - Date.parse(time);
  return ms < 0 ? Number.POSITIVE_INFINITY : ms;
}

function overall(sources: readonly SourceOutcome[]): Pick<AgentOutcome, 'outcome' | 'reason'> {
  const failed = sources.filter(({ status }) => status === 'failed');
  const describe = (outcomes: readonly SourceOutcome[]): string =>
    outcomes.map(({ name, reason }) => `${name}: ${reason}`).join('; ');
  if (failed.length > 0) return { outcome: 'failed', reason: describe(failed) };
  if (sources.every(({ status }) => status === 'absent'))
    return { outcome: 'absent', reason: describe(sources) };
  return { outcome: 'ok' };
}

function agentStore(run: CollectRun, name: string): { store: AgentStore; lockPath: string } {
  const directory = join(run.paths.lib, 'agents', name);
  return {
    store: new AgentStore(directory, run.spool, `${name}.${run.origin.identity.node}.`),
    lockPath: join(directory, 'lock'),
  };
}

/** The state to continue from: what was recovered, or a new epoch when there is none or it is of another tree. */
async function recoverState(run: CollectRun, store: AgentStore, started: Date): Promise<AgentState> {
  const state = await store.recover();
  if (state && state.root === run.system.root) return state;
  return firstState(run.system.root, newEpoch(started));
}

async function runLocked(run: CollectRun, task: Task, store: AgentStore): Promise<AgentOutcome> {
  const started = run.clock();
  const base = { agent: task.name, started: started.toISOString(), everyMs: task.everyMs };
  const sinceStart = (): number => Math.max(0, run.clock().getTime() - started.getTime());
  const signal = AbortSignal.any([run.signal, AbortSignal.timeout(task.timeoutMs)]);
  try {
    const state = await recoverState(run, store, started);
    if (run.onlyDue && elapsed(state.ran, started) < task.everyMs * 0.9) {
      return { ...base, outcome: 'not-due', durationMs: 0, events: 0, sources: [] };
    }
    const reading = await new AgentRun(run, task, store, state, started, signal).read();
    const { epoch, seq, head } = reading.state;
    return {
      ...base,
      ...overall(reading.sources),
      durationMs: sinceStart(),
      events: reading.events,
      sources: reading.sources,
      ...(reading.items === undefined ? {} : { items: reading.items }),
      ...(head === null ? {} : { stream: { epoch, seq, sha256: head } }),
    };
  } catch (error) {
    return {
      ...base,
      outcome: 'failed',
      reason: reasonOf(error),
      durationMs: sinceStart(),
      events: 0,
      sources: [],
    };
  }
}

/** Runs one agent under its lock. Never throws: whatever goes wrong is in the outcome. */
async function runAgent(run: CollectRun, task: Task): Promise<AgentOutcome> {
  const { store, lockPath } = agentStore(run, task.name);
  using lock: Lock | undefined = takeLock(lockPath);
  const outcome: AgentOutcome = lock
    ? await runLocked(run, task, store)
    : {
        agent: task.name,
        outcome: 'busy',
        started: run.clock().toISOString(),
        everyMs: task.everyMs,
        durationMs: 0,
        events: 0,
        sources: [],
      };
  const { agent, ...fields } = outcome;
  run.log[outcome.outcome === 'failed' ? 'error' : 'info'](
    { agent, ...fields },
    `agent ${agent}: ${outcome.outcome}`,
  );
  return outcome;
}

function receipt(outcome: AgentOutcome): BatchEvent {
  const {
    agent,
    outcome: how,
    reason,
    started,
    durationMs,
    events,
    items,
    everyMs,
    sources,
    stream,
  } = outcome;
  const data: Fields = {
    outcome: how,
    started,
    duration_ms: durationMs,
    events,
    every_ms: everyMs,
    sources: sources.map((source) => ({ ...source })),
  };
  if (items !== undefined) data.items = items;
  if (stream) data.stream = { ...stream };
  if (reason !== undefined) data.reason = reason;
  return { time: started, action: how, item: `agent/${agent}`, data };
}

/** Spools the receipt of a run: one event per agent that ran. */
async function writeReceipt(run: CollectRun, outcomes: readonly AgentOutcome[]): Promise<void> {
  const { store, lockPath } = agentStore(run, RECEIPTS);
  using lock = takeLock(lockPath, RECEIPT_WAIT);
  if (!lock)
    throw new DsacError(
      'tempfail',
      `no receipt written: another run has held ${lockPath} for ${RECEIPT_WAIT / 1000} s`,
    );
  const now = run.clock();
  const state = await recoverState(run, store, now);
  const { batch, state: next } = nextBatch(
    run.origin,
    state,
    { agent: RECEIPTS, kind: 'receipt', events: outcomes.map(receipt) },
    now,
  );
  await store.commit({ ...next, ran: now.toISOString() }, [batch]);
}

/** Runs agents side by side, each under its own lock and deadline, then writes one receipt for those that ran. */
export async function collect(run: CollectRun, tasks: readonly Task[]): Promise<AgentOutcome[]> {
  const outcomes = await Promise.all(tasks.map((task) => runAgent(run, task)));
  const ran = outcomes.filter(({ outcome }) => outcome !== 'busy' && outcome !== 'not-due');
  if (ran.length > 0) await writeReceipt(run, ran);
  return outcomes;
}
