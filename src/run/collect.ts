/**
 * Runs agents, and does everything that they have in common: is it due, lock, deadline, sources, comparison with the baseline, batches,
 * commit. Every run ends with one receipt batch.
 */
import { elapsed } from '../config/time.ts';
import { adviceOf, DsacError, reasonOf } from '../errors.ts';
import { type Lock, takeLock } from '../lock.ts';
import { isFull, Room } from '../spool/quota.ts';
import type { AgentRun, Collection, CollectRun, Reading, Task } from './agent-run.ts';
import { asBefore, circumstances, holds } from './basis.ts';
import { type AgentOutcome, NoReceipt, writeReceipt } from './receipt.ts';
import { agentStore, recoverState, withPresentKey } from './resume.ts';
import type { SourceOutcome } from './sources.ts';
import type { AgentState, AgentStore } from './state.ts';

const DAY = 86_400_000;
const ROOM_HINT =
  'nothing is lost: agents go on where they stopped once there is room. dsac spool stat shows what waits and why; send it, make room, or raise quota in dsac.yaml';

function overall(sources: readonly SourceOutcome[]): Pick<AgentOutcome, 'outcome' | 'reason'> {
  const failed = sources.filter(({ status }) => status === 'failed');
  const describe = (outcomes: readonly SourceOutcome[]): string =>
    outcomes.map(({ name, reason }) => `${name}: ${reason}`).join('; ');
  if (failed.length > 0) return { outcome: 'failed', reason: describe(failed) };
  if (sources.every(({ status }) => status === 'absent'))
    return { outcome: 'absent', reason: describe(sources) };
  return { outcome: 'ok' };
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

/** The reading of an agent that need not read, since all that it would read is as it was; undefined when it has to. */
async function unread(
  { run, started }: Collection,
  task: Task,
  store: AgentStore,
  state: AgentState,
): Promise<Reading | undefined> {
  const { basis } = state;
  if (!basis) return undefined;
  // Once a day all is read, whatever the files' times say; and an inventory when it is to be sent whole.
  const isSent = basis.items === undefined || elapsed(state.snapshot, started) < run.snapshotMs;
  if (!isSent || elapsed(basis.time, started) >= DAY) return undefined;
  const by = circumstances(run.origin.identity, { build: run.build, settings: task.settings });
  if (!(await holds(basis, by, started, run.system))) return undefined;
  run.signal.throwIfAborted();
  return {
    state: await store.commit({ ...state, ran: started.toISOString() }, []),
    events: 0,
    ...(basis.items === undefined ? {} : { items: basis.items }),
    sources: asBefore(basis),
  };
}

/** What reads is loaded when something is to be read. */
async function read(...run: ConstructorParameters<typeof AgentRun>): Promise<Reading> {
  const { AgentRun } = await import('./agent-run.ts');
  return new AgentRun(...run).read();
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
    const reading =
      (await unread(collection, task, store, state)) ??
      (await read({ ...collection, run: await withPresentKey(run) }, task, store, state, signal));
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

/**
 * Runs agents side by side, each under its own lock and deadline, then writes one receipt for those that ran. Throws `NoReceipt` when it cannot be
 * written.
 */
export async function collect(run: CollectRun, tasks: readonly Task[]): Promise<AgentOutcome[]> {
  const room = new Room(run.spool, run.quota, ROOM_HINT, [run.paths.lib]);
  const outcomes = await Promise.all(tasks.map((task) => runAgent(run, room, task)));
  const ran = outcomes.filter(({ outcome }) => outcome !== 'busy' && outcome !== 'not-due');
  try {
    if (ran.length > 0) await writeReceipt(run, room, ran);
  } catch (error) {
    throw new NoReceipt(named(run, error), outcomes);
  }
  return outcomes;
}
