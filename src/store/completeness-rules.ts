/**
 * How complete the account of each node is. The rules, in one place:
 *
 * - **forked**: two batches claim one place in a stream, or one was built on another predecessor than the one that is here; in the window.
 * - **gapped**: a batch must exist and is not here: a hole in the numbers of a stream, or a receipt that names a head which has not come; when
 *   the hole overlaps the window.
 * - **silent**: an agent has not run for three of its intervals and for 24 hours at least.
 * - **late**: an agent has not run for two of its intervals and ten minutes, or its last run failed: what happened since is not here.
 * - **complete**: none of these. A node is as bad as the worst of its streams, in this order.
 *
 * "Has not run" is measured by receipts, up to the end of the window or now, whichever is earlier. Of an agent without a receipt the
 * newest batch counts, and only the 24 hours.
 */
import type { Window } from './events.ts';
import type { StreamRow } from './tables.ts';
import { fromStored, storedDate, storedMs } from './times.ts';

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

/** From bad to good. */

export const NODE_STATES = ['forked', 'gapped', 'silent', 'late', 'complete'] as const;

export type NodeState = (typeof NODE_STATES)[number];

/** What completeness is asked about: a window and the moment of asking. */
export interface Question extends Window {
  readonly now: Date;
}

/** Batches that must exist and are not here: numbers `from` to `to` of a stream. */
export interface Gap {
  readonly from: number;
  readonly to: number;
}

/** One stream, in the words of the report. */
export interface StreamState {
  readonly node: string;
  readonly host: string;
  readonly agent: string;
  /** Null for an agent that ran and has written no batch. */
  readonly epoch: string | null;
  readonly state: NodeState;
  /** When the agent last ran, or, without a receipt, made its newest batch. */
  readonly seen: string | null;
  readonly lastSeq: number;
  readonly batches: number;
  readonly gaps: readonly Gap[];
  readonly forks: number;
  /** Epochs there have been of this agent on this node. */
  readonly epochs: number;
  readonly outcome: string | null;
  readonly reason: string | null;
  readonly everyMs: number | null;
}

/** Whether an agent that last ran `ageMs` ago is on time (see above). `everyMs` is null where no receipt says how often it is due. */
export function lateness(ageMs: number, everyMs: number | null): 'silent' | 'late' | 'complete' {
  if (ageMs > Math.max(3 * (everyMs ?? 0), DAY)) return 'silent';
  if (everyMs !== null && ageMs > 2 * everyMs + 10 * MINUTE) return 'late';
  return 'complete';
}

export interface AgentRow {
  readonly node: string;
  readonly agent: string;
  readonly time: string;
  readonly outcome: string;
  readonly every_ms: number | null;
  readonly reason: string | null;
}

/** Everything that bears on one page of nodes. */
export interface Facts {
  readonly streams: StreamRow[];
  readonly agents: AgentRow[];
  /** By stream key. */
  readonly holes: Map<string, Gap[]>;
  readonly forks: Map<string, number>;
}

export const streamKey = (row: { node: string; agent: string; epoch: string }): string =>
  `${row.node} ${row.agent} ${row.epoch}`;
export const ownerKey = (row: { node: string; agent: string }): string => `${row.node} ${row.agent}`;

export function overlaps(from: string | null, to: string | null, since: string, until: string): boolean {
  return (from === null || from < until) && (to === null || to >= since);
}

/** What a receipt names behind the last batch that is here, when that overlaps the window. */
function tailGap(stream: StreamRow, since: string, until: string): Gap[] {
  if (stream.named_seq <= stream.last_seq || !overlaps(stream.last_time, stream.named_time, since, until))
    return [];
  return [{ from: stream.last_seq + 1, to: stream.named_seq }];
}

/** Whether a receipt names another batch than the one that is here as the head. */

function namesAnother(stream: StreamRow): boolean {
  return (
    stream.named_seq > 0 && stream.named_seq === stream.last_seq && stream.named_sha256 !== stream.last_sha256
  );
}

/** Order of a stream among the epochs of its agent: the newest is last. One that only receipts know begins when they say so. */
export function epochOrder(a: StreamRow, b: StreamRow): number {
  const start = (one: StreamRow): string => `${one.started ?? one.named_time} ${one.epoch}`;
  return start(a) < start(b) ? -1 : 1;
}

/** What the store knows of one agent on one node. */
export interface AgentFacts {
  readonly node: string;
  readonly host: string;
  readonly agent: string;
  /** Oldest epoch first. */
  readonly epochs: readonly StreamRow[];
  readonly run: AgentRow | undefined;
}

/** How the agent's runs keep their times. Receipts are made by every run of any agent, so they have no interval of their own. */
function punctuality({ agent, run }: AgentFacts, seen: string | null, question: Question): NodeState {
  if (agent === 'receipts' || seen === null) return 'complete';
  const end = Math.min(question.until.getTime(), question.now.getTime());
  const state = lateness(end - storedMs(seen), run?.every_ms ?? null);
  return state === 'complete' && run?.outcome === 'failed' ? 'late' : state;
}

function stateOf(subject: AgentFacts, stream: StreamRow, facts: Facts, question: Question): StreamState {
  const { node, host, agent, epochs, run } = subject;
  const newest = stream === epochs.at(-1);
  const seen = newest ? (run?.time ?? stream.last_time) : stream.last_time;
  const tail = tailGap(stream, storedDate(question.since), storedDate(question.until));
  const gaps = [...(facts.holes.get(streamKey(stream)) ?? []), ...tail];
  const forks = (facts.forks.get(streamKey(stream)) ?? 0) + (namesAnother(stream) ? 1 : 0);
  const whole = newest ? punctuality(subject, seen, question) : 'complete';
  return {
    node,
    host,
    agent,
    epoch: stream.epoch,
    state: forks > 0 ? 'forked' : gaps.length > 0 ? 'gapped' : whole,
    seen: seen && fromStored(seen),
    lastSeq: stream.last_seq,
    batches: stream.batches,
    gaps,
    forks,
    epochs: epochs.length,
    outcome: run?.outcome ?? null,
    reason: run?.reason ?? null,
    everyMs: run?.every_ms ?? null,
  };
}

/** An agent that ran and has written no batch yet, such as one whose sources are absent. */
function withoutStream(subject: AgentFacts, run: AgentRow, question: Question): StreamState {
  const { node, host, agent } = subject;
  const none = { epoch: null, lastSeq: 0, batches: 0, gaps: [], forks: 0, epochs: 0 };
  const { outcome, reason, every_ms: everyMs } = run;
  const state = punctuality(subject, run.time, question);
  return { node, host, agent, state, seen: fromStored(run.time), ...none, outcome, reason, everyMs };
}

/** The streams of one agent on one node: the newest epoch, and those before it that reach into the window or lack something. */
export function statesOf(subject: AgentFacts, facts: Facts, question: Question): StreamState[] {
  const { epochs, run } = subject;
  if (epochs.length === 0) return run ? [withoutStream(subject, run, question)] : [];
  const since = storedDate(question.since);
  return epochs.flatMap((stream) => {
    const state = stateOf(subject, stream, facts, question);
    const past = stream !== epochs.at(-1) && (stream.last_time ?? '') < since;
    return past && state.state === 'complete' ? [] : [state];
  });
}
