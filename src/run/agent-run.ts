/**
 * One agent's reading of its sources, from the state that was to the state that is: comparison with the baseline, batches, commit. Its lock is
 * held and its state recovered by the caller (collect.ts).
 */
import { orAbort } from '../abort.ts';
import type { Paths } from '../config/paths.ts';
import { elapsed } from '../config/time.ts';
import type { System } from '../host/system.ts';
import type { Log } from '../log.ts';
import type { AgentContext, InventoryAgent, LogAgent } from '../plugin/agent.ts';
import type { Quota, Room } from '../spool/quota.ts';
import type { Spool } from '../spool/spool.ts';
import { circumstances, Resting } from './basis.ts';
import { diff, snapshotEvents } from './diff.ts';
import { LogBatches } from './log-batches.ts';
import { changesParts, type Part, snapshotParts } from './parts.ts';
import { outcomeOf, readInventory, readStretches, type SourceOutcome, type Stretch } from './sources.ts';
import type { AgentState, AgentStore, Baseline, Basis, SpooledBatch } from './state.ts';
import { type Content, nextBatch, type Origin } from './stream.ts';

/** One agent as configured for this node. */
export interface Task {
  readonly name: string;
  readonly options: unknown;
  /** What decides beside the machine's files what it reads: its type, options, sources. */
  readonly settings: unknown;
  readonly everyMs: number;
  readonly timeoutMs: number;
  /** Loads it: most runs have nothing to read, and do without. */
  load(): Promise<InventoryAgent | LogAgent>;
}

export interface CollectRun {
  readonly origin: Origin;
  readonly paths: Paths;
  readonly spool: Spool;
  readonly system: System;
  /** Names this build of DSAC. */
  readonly build: string;
  /** How often an inventory is sent whole, in ms. */
  readonly snapshotMs: number;
  readonly log: Log;
  readonly clock: () => Date;
  readonly signal: AbortSignal;
  /** Skip agents that ran less than their interval ago. */
  readonly onlyDue: boolean;
  /** How much the spool may hold. */
  readonly quota: Quota;
  /** Most bytes of an inventory's batch; what the format allows when left out. */
  readonly batchBytes?: number;
}

/** What the agents of one run share. */
export interface Collection {
  readonly run: CollectRun;
  readonly room: Room;
  /** When this agent began. */
  readonly started: Date;
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
  readonly #resting = new Resting();
  /** Names what beside files decides what is read. */
  readonly #by: string;
  readonly #room: Room;
  #state: AgentState;

  constructor(
    { run, room, started }: Collection,
    task: Task,
    store: AgentStore,
    state: AgentState,
    signal: AbortSignal,
  ) {
    this.#run = run;
    this.#task = task;
    this.#store = store;
    this.#room = room;
    // Until all is read it rests on nothing: a log's readings are committed in parts.
    this.#state = { ...state, basis: null };
    this.#by = circumstances(run.origin.identity, { build: run.build, settings: task.settings });
    this.#context = {
      options: task.options,
      system: run.system,
      log: run.log,
      signal,
      now: started,
      digest: (secret) => run.origin.identity.digest(secret),
      restsOn() {},
    };
  }

  async read(): Promise<Reading> {
    const agent = await this.#task.load();
    return agent.type === 'inventory' ? this.#readInventory(agent) : this.#readLog(agent);
  }

  async #readInventory(agent: InventoryAgent): Promise<Reading> {
    const state = this.#state;
    const first = state.seq === 0;
    const before = await this.#store.baseline(state);
    // A source that never returns must not hold the run.
    const { items, sources } = await orAbort(
      readInventory(agent, (source) => this.#contextOf(source), before),
      this.#context.signal,
    );
    const read = sources.filter(({ status }) => status === 'ok').map(({ name }) => name);
    if (read.length === 0) return this.#nothing(sources);

    const time = this.#context.now.toISOString();
    const events = first ? [] : diff(agent, before, items, new Set(state.known), time);
    const whole = first || elapsed(state.snapshot, this.#context.now) >= this.#run.snapshotMs;
    const most = this.#run.batchBytes;
    const parts = [
      ...(events.length > 0 ? changesParts(events, before, items, most) : []),
      ...(whole ? snapshotParts(snapshotEvents(items, time), items, first, most) : []),
    ];
    const known = [...new Set([...state.known, ...read])].sort();
    await this.#commitParts(
      parts,
      { ran: time, known, basis: this.#basis(sources, items.size), ...(whole ? { snapshot: time } : {}) },
      parts.length > 0 ? items : undefined,
    );
    return { state: this.#state, events: events.length, items: items.size, sources };
  }

  async #commitParts(
    parts: readonly Part[],
    changes: Partial<AgentState>,
    baseline: Baseline | undefined,
  ): Promise<void> {
    let state = this.#state;
    const batches: SpooledBatch[] = [];
    for (const part of parts) {
      const next = this.#next(state, part);
      batches.push(next.batch);
      state = next.state;
    }
    await this.#commit({ ...state, ...changes }, batches, [], baseline);
  }

  async #readLog(agent: LogAgent): Promise<Reading> {
    const self = this;
    const batches = new LogBatches({
      get state() {
        return self.#state;
      },
      next: (state, events) => this.#next(state, { kind: 'log', events }),
      stage: async (batch) => {
        await this.#room.take(batch.bytes.length);
        await this.#store.stage(batch);
      },
      unstage: () => this.#store.unstage(),
      commit: (state, ready, staged) => this.#commit(state, ready, staged),
    });
    const sources: SourceOutcome[] = [];
    for (const name of Object.keys(agent.sources)) sources.push(await this.#readSource(agent, name, batches));
    if (sources.every(({ status }) => status !== 'ok') && batches.isEmpty) return this.#nothing(sources);
    await batches.commit({ ran: this.#context.now.toISOString(), basis: this.#basis(sources) });
    const events = sources.reduce((sum, source) => sum + (source.events ?? 0), 0);
    return { state: this.#state, events, sources };
  }

  /** Reads one source. What it throws is its own outcome; that what was read cannot be written ends the run. */
  async #readSource(agent: LogAgent, name: string, batches: LogBatches): Promise<SourceOutcome> {
    const stretches = readStretches(agent, name, this.#contextOf(name), this.#state.cursors[name]);
    let events = 0;
    for (;;) {
      let step: IteratorResult<Stretch>;
      try {
        step = await orAbort(stretches.next(), this.#context.signal);
      } catch (error) {
        events -= await batches.drop();
        return { ...outcomeOf(name, error), events };
      }
      if (step.done) return { name, status: 'ok', events };
      events += step.value.events.length;
      await batches.add(step.value);
    }
  }

  /** No source could be read: nothing moves, except that an agent whose sources are all absent has had its turn. */
  async #nothing(sources: readonly SourceOutcome[]): Promise<Reading> {
    const allAbsent = sources.every(({ status }) => status === 'absent');
    const ran = this.#context.now.toISOString();
    if (allAbsent) await this.#commit({ ...this.#state, ran, basis: this.#basis(sources) }, []);
    return { state: this.#state, events: 0, sources };
  }

  #contextOf(source: string): AgentContext {
    return this.#resting.contextOf(this.#context, source);
  }

  #basis(sources: readonly SourceOutcome[], items?: number): Basis | null {
    return this.#resting.basis(this.#by, this.#context.now, sources, items);
  }

  #next(state: AgentState, content: Omit<Content, 'agent'>): { batch: SpooledBatch; state: AgentState } {
    return nextBatch(this.#run.origin, state, { agent: this.#task.name, ...content }, this.#context.now);
  }

  async #commit(
    state: AgentState,
    batches: readonly SpooledBatch[],
    staged: readonly string[] = [],
    baseline?: Baseline,
  ): Promise<void> {
    this.#context.signal.throwIfAborted();
    for (const { bytes } of batches) await this.#room.take(bytes.length);
    this.#state = await this.#store.commit(state, batches, baseline, staged);
  }
}
