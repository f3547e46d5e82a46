/** The receipt that every run of agents ends with: how each of them fared, and what earlier runs could not say. */
import { DsacError, isForbidden, reasonOf } from '../errors.ts';
import { takeLock } from '../lock.ts';
import type { BatchEvent, Fields } from '../spool/batch.ts';
import type { Room } from '../spool/quota.ts';
import type { CollectRun } from './agent-run.ts';
import { agentStore, recoverState, withPresentKey } from './resume.ts';
import type { SourceOutcome } from './sources.ts';
import type { AgentState, AgentStore } from './state.ts';
import { clearStopped, noteStopped, readStopped, type Stopped } from './stopped.ts';
import { nextBatch } from './stream.ts';

/** The stream that receipts travel in. */
export const RECEIPTS = 'receipts';
/** How long a finishing run waits for another that is writing its receipt, in ms. */
const RECEIPT_WAIT = 30_000;

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

/** Writes the receipt of a run. What keeps it from being written is noted for the next one, and thrown. */
export async function writeReceipt(
  run: CollectRun,
  room: Room,
  outcomes: readonly AgentOutcome[],
): Promise<void> {
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

const NOT_OURS =
  'run as the user that ran dsac init; if that is who runs it, another one (root?) has run here: give the file back to its owner';

/** The receipt of a run could not be written. `outcomes` tells how its agents fared all the same. */
export class NoReceipt extends DsacError {
  override readonly name = 'NoReceipt';
  readonly outcomes: readonly AgentOutcome[];

  constructor(error: unknown, outcomes: readonly AgentOutcome[]) {
    const forbidden = isForbidden(error);
    const { kind, hint } =
      error instanceof DsacError
        ? error
        : { kind: forbidden ? ('noperm' as const) : ('io' as const), hint: forbidden ? NOT_OURS : undefined };
    const advice = hint ?? 'the next receipt tells that this one is missing';
    super(kind, `no receipt written: ${reasonOf(error)}`, { cause: error, hint: advice });
    this.outcomes = outcomes;
  }
}
