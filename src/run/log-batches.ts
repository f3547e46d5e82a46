/**
 * Gathers what log sources yield into batches, and commits each together with the cursors that stand behind it. Where a source names no place for
 * longer than a batch may be, the batches before that place are written as they fill, and count only once it is reached: memory stays
 * bounded, and a source that fails midway leaves nothing behind.
 */
import type { BatchEvent } from '../spool/batch.ts';
import type { Stretch } from './sources.ts';
import type { AgentState, SpooledBatch } from './state.ts';

/** A log batch is closed when it holds this many events or bytes. */
const BATCH_EVENTS = 5000;
const BATCH_BYTES = 4 * 1024 * 1024;

/** What the batches are for: the agent's run. */
export interface LogCommits {
  /** The state that was committed last. */
  readonly state: AgentState;
  /** Makes the batch that comes after `state`. */
  next(state: AgentState, events: BatchEvent[]): { batch: SpooledBatch; state: AgentState };
  stage(batch: SpooledBatch): Promise<void>;
  unstage(): Promise<void>;
  commit(state: AgentState, batches: readonly SpooledBatch[], staged: readonly string[]): Promise<void>;
}

/** Batches written but not committed, and the state behind them. */
interface Draft {
  state: AgentState;
  readonly names: string[];
  events: number;
}

export class LogBatches {
  readonly #run: LogCommits;
  /** Whole stretches that wait for their batch. */
  #ready: Stretch[] = [];
  #draft: Draft | undefined;

  constructor(run: LogCommits) {
    this.#run = run;
  }

  /** Takes a stretch in; commits when there is enough for a batch. */
  async add(stretch: Stretch): Promise<void> {
    if (!stretch.whole) await this.#write(stretch);
    else if (this.#draft) await this.#finish(stretch);
    else {
      this.#ready.push(stretch);
      if (isFull(this.#ready)) await this.commit();
    }
  }

  /** Forgets what its source has not come to a place behind; answers how many events that were. */
  async drop(): Promise<number> {
    const events = this.#draft?.events ?? 0;
    if (this.#draft) await this.#run.unstage();
    this.#draft = undefined;
    return events;
  }

  get isEmpty(): boolean {
    return this.#ready.length === 0;
  }

  /** Commits what is ready, and `changes` of the state with it. */
  async commit(changes: Partial<AgentState> = {}): Promise<void> {
    const stretches = this.#ready;
    this.#ready = [];
    const events = stretches.flatMap((stretch) => stretch.events);
    const before = this.#run.state;
    const { batch, state } =
      events.length > 0 ? this.#run.next(before, events) : { batch: undefined, state: before };
    const cursors = cursorsBehind(before, stretches);
    await this.#run.commit({ ...state, ...changes, cursors }, batch ? [batch] : [], []);
  }

  async #write({ events }: Stretch): Promise<void> {
    if (this.#ready.length > 0) await this.commit();
    this.#draft ??= { state: this.#run.state, names: [], events: 0 };
    const { batch, state } = this.#run.next(this.#draft.state, events);
    await this.#run.stage(batch);
    this.#draft.names.push(batch.name);
    this.#draft.state = state;
    this.#draft.events += events.length;
  }

  async #finish(stretch: Stretch): Promise<void> {
    if (stretch.events.length > 0) await this.#write(stretch);
    const { state, names } = this.#draft!;
    this.#draft = undefined;
    await this.#run.commit({ ...state, cursors: cursorsBehind(state, [stretch]) }, [], names);
  }
}

function cursorsBehind(state: AgentState, stretches: readonly Stretch[]): AgentState['cursors'] {
  const cursors: Record<string, unknown> = { ...state.cursors };
  for (const { source, cursor } of stretches) if (cursor !== undefined) cursors[source] = cursor;
  return cursors as AgentState['cursors'];
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
