/**
 * Runs agents, and does everything that they have in common: is it due, lock, deadline, sources, comparison with the baseline, batches,
 * commit. Every run ends with one receipt batch.
 */
import { join } from 'node:path';
import { adviceOf, DsacError, reasonOf } from '../errors.ts';
import { type Lock, takeLock } from '../lock.ts';
import type { BatchEvent, Fields } from '../spool/batch.ts';
import { DEFAULT_QUOTA, isFull, Room } from '../spool/quota.ts';
import { AgentRun, type Collection, type CollectRun, elapsed, type Task } from './agent-run.ts';
import { loadIdentity } from './identity.ts';
import type { SourceOutcome } from './sources.ts';
import { type AgentState, AgentStore, firstState } from './state.ts';
import { clearStopped, noteStopped, readStopped, type Stopped } from './stopped.ts';
import { newEpoch, nextBatch } from './stream.ts';

/** The stream that receipts travel in. */
export const RECEIPTS = 'receipts';
/** How long a finishing run waits for another that is writing its receipt, in ms. */
const RECEIPT_WAIT = 30_000;
const ROOM_HINT =
  'nothing is lost: agents go on where they stopped once there is room. dsac spool stat shows what waits and why; send it, make room, or raise quota in dsac.yaml';

/** How one agent fared. `busy`: another process runs it; `not-due`: it ran recently. Neither gets a receipt. */
export interface AgentOutcome {
  readonly agent: string;
  readonly outcome: 'ok' | 'absent' | 'failed' | 'busy' | 'not-due';
  readonly reason?: string;
  /** `quota`: there was no room in the spool, or on its disk; nothing moved. `stopped`: told to, or out of time. */
  readonly cause?: 'quota' | 'stopped';
  readonly started: string;
  readonly durationMs: number;
  readonly events: number;
  readonly items?: number;
  readonly everyMs: number;
  readonly sources: readonly SourceOutcome[];
  readonly stream?: { readonly epoch: string; readonly seq: number; readonly sha256: string };
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

/** What an outcome says of an agent that has read nothing. */
function nothingRead(task: Task, started: Date) {
  return {
    agent: task.name,
    started: started.toISOString(),
    everyMs: task.everyMs,
    durationMs: 0,
    events: 0,
    sources: [],
  };
}

/** Aborts, with a reason in words, when `ms` have passed. */
function deadline(ms: number): AbortSignal {
  const controller = new AbortController();
  setTimeout(() => controller.abort(new Error(`not done within ${ms / 1000} s`)), ms).unref();
  return controller.signal;
}

/** The run with the key as it is now: it may have been changed while the run waited for the lock. */
async function withPresentKey(run: CollectRun): Promise<CollectRun> {
  return { ...run, origin: { ...run.origin, identity: await loadIdentity(run.paths) } };
}

/** The system says that a disk is full, but not which. */
function named({ paths }: CollectRun, error: unknown): unknown {
  if (!isFull(error) || error instanceof DsacError) return error;
  return new DsacError('io', `cannot write to ${paths.out} or ${paths.lib}: ${reasonOf(error)}`, {
    cause: error,
    hint: ROOM_HINT,
  });
}

/** What stopped an agent, where that is nothing of its own. */
function causeOf(error: unknown, signal: AbortSignal): Pick<AgentOutcome, 'cause'> {
  if (isFull(error)) return { cause: 'quota' };
  return signal.aborted ? { cause: 'stopped' } : {};
}

async function runLocked(collection: Collection, task: Task, store: AgentStore): Promise<AgentOutcome> {
  const { run, started } = collection;
  const base = nothingRead(task, started);
  const sinceStart = (): number => Math.max(0, run.clock().getTime() - started.getTime());
  const signal = AbortSignal.any([run.signal, deadline(task.timeoutMs)]);
  try {
    const state = await recoverState(run, store, started);
    if (run.onlyDue && elapsed(state.ran, started) < task.everyMs * 0.9) {
      return { ...base, outcome: 'not-due' };
    }
    await collection.room.require();
    const current = { ...collection, run: await withPresentKey(run) };
    const reading = await new AgentRun(current, task, store, state, signal).read();
    const { epoch, seq, head } = reading.state;
    const how = overall(reading.sources);
    return {
      ...base,
      ...how,
      ...(how.outcome === 'failed' && run.signal.aborted ? { cause: 'stopped' as const } : {}),
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
      reason: adviceOf(named(run, error)),
      ...causeOf(error, run.signal),
      durationMs: sinceStart(),
    };
  }
}

async function tryAgent(collection: Collection, task: Task): Promise<AgentOutcome> {
  const { run, started } = collection;
  const { store, lockPath } = agentStore(run, task.name);
  try {
    using lock: Lock | undefined = takeLock(lockPath);
    if (!lock) return { ...nothingRead(task, started), outcome: 'busy' };
    return await runLocked(collection, task, store);
  } catch (error) {
    return { ...nothingRead(task, started), outcome: 'failed', reason: adviceOf(error) };
  }
}

/** Runs one agent under its lock. Never throws: whatever goes wrong is in the outcome. */
async function runAgent(run: CollectRun, room: Room, task: Task): Promise<AgentOutcome> {
  const outcome = await tryAgent({ run, room, started: run.clock() }, task);
  const { agent, ...fields } = outcome;
  run.log[outcome.outcome === 'failed' ? 'error' : 'info'](
    { agent, ...fields },
    `agent ${agent}: ${outcome.outcome}`,
  );
  return outcome;
}

/** What a receipt says beside how its agents fared. */
interface Extra {
  readonly stopped?: Stopped;
  /** The machine that the receipt before came from, where it was another. */
  readonly was?: { readonly host?: string; readonly machine?: string };
}

/** Where the receipts' state keeps the host's name and blinded machine id. */
const ORIGIN = 'origin';

/** What of the machine is not as it was at the last receipt: it was renamed, or this is a clone with a machine id of its own. */
function movedFrom({ origin }: CollectRun, state: AgentState): Pick<Extra, 'was'> {
  const before = state.cursors[ORIGIN] as { host?: string; machine?: string } | undefined;
  if (before === undefined) return {};
  const was = {
    ...(before.host !== undefined && before.host !== origin.host ? { host: before.host } : {}),
    ...(before.machine !== undefined && before.machine !== origin.machine ? { machine: before.machine } : {}),
  };
  return Object.keys(was).length > 0 ? { was } : {};
}

function receipt(outcome: AgentOutcome, { stopped, was }: Extra): BatchEvent {
  const {
    agent,
    outcome: how,
    reason,
    cause,
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
  if (cause !== undefined) data.cause = cause;
  if (stopped) data.stopped = { ...stopped };
  if (was) data.was = { ...was };
  return { time: started, action: how, item: `agent/${agent}`, data };
}

/** Where the receipts' state says which note of stopped runs has been told. */
const TOLD = 'stopped';

/** Spools the receipt of a run: one event per agent that ran, and what earlier runs could not leave. */
async function spoolReceipt(
  run: CollectRun,
  room: Room,
  store: AgentStore,
  outcomes: readonly AgentOutcome[],
): Promise<void> {
  const { disk } = run.spool;
  const now = run.clock();
  const state = await recoverState(run, store, now);
  const note = await readStopped(disk, store.directory);
  const stopped = note?.since === state.cursors[TOLD] ? undefined : note;
  const extra: Extra = { ...(stopped && { stopped }), ...movedFrom(run, state) };
  const { batch, state: next } = nextBatch(
    (await withPresentKey(run)).origin,
    state,
    { agent: RECEIPTS, kind: 'receipt', events: outcomes.map((outcome) => receipt(outcome, extra)) },
    now,
  );
  await room.take(batch.bytes.length, 'receipt');
  const { host, machine } = run.origin;
  const cursors = {
    ...next.cursors,
    [ORIGIN]: { host, ...(machine === undefined ? {} : { machine }) },
    ...(stopped ? { [TOLD]: stopped.since } : {}),
  };
  await store.commit({ ...next, ran: now.toISOString(), cursors }, [batch]);
  await clearStopped(disk, store.directory);
}

async function writeReceipt(run: CollectRun, room: Room, outcomes: readonly AgentOutcome[]): Promise<void> {
  const { store, lockPath } = agentStore(run, RECEIPTS);
  using lock = takeLock(lockPath, RECEIPT_WAIT);
  if (!lock)
    throw new DsacError(
      'tempfail',
      `no receipt written: another run has held ${lockPath} for ${RECEIPT_WAIT / 1000} s`,
    );
  try {
    await spoolReceipt(run, room, store, outcomes);
  } catch (error) {
    await noteStopped(run.spool.disk, store.directory, run.clock().toISOString(), error);
    throw error;
  }
}

/** The receipt of a run could not be written. `outcomes` tells how its agents fared all the same. */
export class NoReceipt extends DsacError {
  override readonly name = 'NoReceipt';
  readonly outcomes: readonly AgentOutcome[];

  constructor(error: unknown, outcomes: readonly AgentOutcome[]) {
    const { kind, hint } = error instanceof DsacError ? error : { kind: 'io' as const, hint: undefined };
    const advice = hint ?? 'the next receipt tells that this one is missing';
    super(kind, `no receipt written: ${reasonOf(error)}`, { cause: error, hint: advice });
    this.outcomes = outcomes;
  }
}

/**
 * Runs agents side by side, each under its own lock and deadline, then writes one receipt for those that ran. Throws `NoReceipt` when it cannot be
 * written.
 */
export async function collect(run: CollectRun, tasks: readonly Task[]): Promise<AgentOutcome[]> {
  const room = new Room(run.spool, run.quota ?? DEFAULT_QUOTA, ROOM_HINT, [run.paths.lib]);
  const outcomes = await Promise.all(tasks.map((task) => runAgent(run, room, task)));
  const ran = outcomes.filter(({ outcome }) => outcome !== 'busy' && outcome !== 'not-due');
  try {
    if (ran.length > 0) await writeReceipt(run, room, ran);
  } catch (error) {
    throw new NoReceipt(named(run, error), outcomes);
  }
  return outcomes;
}
