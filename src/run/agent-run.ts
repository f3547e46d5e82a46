/**
 * One agent's reading of its sources, from the state that was to the state that is: comparison with the baseline, batches, commit. Its lock is
 * held and its state recovered by the caller (collect.ts).
 */
import { orAbort } from '../abort.ts';
import type { Paths } from '../config/paths.ts';
import type { System } from '../host/system.ts';
import type { Log } from '../log.ts';
import type { AgentContext, InventoryAgent, LogAgent } from '../plugin/agent.ts';
import type { BatchEvent } from '../spool/batch.ts';
import type { Spool } from '../spool/spool.ts';
import { diff, snapshotEvents } from './diff.ts';
import { outcomeOf, readInventory, readStretches, type SourceOutcome, type Stretch } from './sources.ts';
import type { AgentState, AgentStore, Baseline, SpooledBatch } from './state.ts';
import { nextBatch, type Origin } from './stream.ts';

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

/** What a finished reading of an agent amounts to. */
export interface Reading {
  readonly state: AgentState;
  readonly events: number;
  readonly items?: number;
  readonly sources: readonly SourceOutcome[];
}

/** One agent's run: its lock is held, its state recovered. */
export class AgentRun {
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
    const whole = first || elapsed(state.snapshot, this.#context.now) >= this.#run.snapshotMs;
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

/** Milliseconds from `time` to `now`; endless when there is none, or when it lies ahead (the clock went back). */
export function elapsed(time: string | null, now: Date): number {
  if (time === null) return Number.POSITIVE_INFINITY;
  const ms = now.getTime() - Date.parse(time);
  return ms < 0 ? Number.POSITIVE_INFINITY : ms;
}
