/**
 * How complete the account of each node is. Pure. The rules, in one place; a stream, and a node, may break several:
 *
 * - **forked**: two batches claim one place in a stream, one was built on another predecessor than the one that is here, or a receipt names
 *   another one; in the window.
 * - **differs**: what the batches told does not add up to the state that the node gave, in the window.
 * - **gapped**: a batch must exist and is not here: a hole in the numbers of a stream, or a receipt that names a head which has not come; when
 *   the hole overlaps the window.
 * - **lost**: the agent says that a part of its source was gone before it was read, in the window.
 * - **restarted**: a new epoch of an agent that had one before began in the window: its state was lost or reset, and what was not sent by then is not known.
 * - **silent**: an agent has not run for three of its intervals and for 24 hours at least; or a node that was added has never reported.
 * - **late**: an agent has not run for two of its intervals and ten minutes, or its last run failed: what happened since is not here.
 * - **ahead**: times came that the centre had not reached: what is told of may lie behind the end of the window, or in another one.
 * - **returned**: a node that was retired has reported again.
 * - **complete**: none of these.
 *
 * "Has not run" is measured by receipts, up to the end of the window or now, whichever is earlier. Of an agent without a receipt the
 * newest batch counts, and only the 24 hours. From its retirement on a node owes nothing: neither silence nor what is missing from then on counts.
 */
import type { Window } from './events.ts';
import type { StreamRow } from './tables.ts';
import { fromStored, storedDate, storedMs } from './times.ts';

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

/** From bad to good. */
export const NODE_STATES = [
  'forked',
  'differs',
  'gapped',
  'lost',
  'restarted',
  'silent',
  'late',
  'ahead',
  'returned',
  'complete',
] as const;

export type NodeState = (typeof NODE_STATES)[number];

/** What keeps a node from being complete. */
export type Finding = Exclude<NodeState, 'complete'>;

/** What completeness is asked about: a window and the moment of asking. */
export interface Question extends Window {
  readonly now: Date;
}

/** The window as it is for one node, times as stored: `until` is its retirement where that is earlier. */
export interface Span {
  readonly since: string;
  readonly until: string;
}

/** Numbers `from` to `to` of a stream. */
export interface Range {
  readonly from: number;
  readonly to: number;
}

/** A stretch of time, RFC 3339; `to` is null while it lasts. */
export interface Stretch {
  readonly from: string;
  readonly to: string | null;
}

/** Most ranges that are listed of a stream; what is missing beyond is counted. */
export const MOST_RANGES = 1000;

/** One stream, in the words of the report. */
export interface StreamState {
  readonly node: string;
  readonly host: string;
  /** Null for a node that was added and has never reported. */
  readonly agent: string | null;
  /** Null for an agent that ran and has written no batch. */
  readonly epoch: string | null;
  /** The worst of the findings. */
  readonly state: NodeState;
  /** From bad to good. */
  readonly findings: readonly Finding[];
  /** When the agent last ran, or, without a receipt, made its newest batch. */
  readonly seen: string | null;
  readonly lastSeq: number;
  readonly batches: number;
  /** Numbers that are here, the first `MOST_RANGES` ranges of them. */
  readonly received: readonly Range[];
  /** Batches that must exist and are not here, the first `MOST_RANGES` ranges of them. */
  readonly gaps: readonly Range[];
  /** How many those are, all of them. */
  readonly missing: number;
  readonly forks: number;
  /** Epochs there have been of this agent on this node. */
  readonly epochs: number;
  /** When this epoch began, where that was a restart in the window. */
  readonly restarted: string | null;
  readonly outcome: string | null;
  readonly reason: string | null;
  readonly everyMs: number | null;
  /** How far ahead of the centre's clock times were that came in the window or tell of it; null when none were. */
  readonly aheadMs: number | null;
  /** How often the agent told in the window that history was lost; and what of, the last time. */
  readonly losses: number;
  readonly loss: string | null;
  /** Whether the newest state replays to the digest that the node gave; null where there is no inventory. */
  readonly digest: boolean | null;
  /** The last stretch in the window in which it did not. */
  readonly differed: Stretch | null;
  /** When the node was taken out of use, and why. */
  readonly retired: string | null;
  readonly retiredFor: string | null;
}

/** Whether an agent that last ran `ageMs` ago is on time (see above). `everyMs` is null where no receipt says how often it is due. */
export function lateness(ageMs: number, everyMs: number | null): 'silent' | 'late' | 'complete' {
  if (ageMs > Math.max(3 * (everyMs ?? 0), DAY)) return 'silent';
  if (everyMs !== null && ageMs > 2 * everyMs + 10 * MINUTE) return 'late';
  return 'complete';
}

/** Whether what lies between two moments, in whichever order, overlaps a span; null: the end is open. */
export function overlaps(from: string | null, to: string | null, { since, until }: Span): boolean {
  if (since >= until) return false;
  const [first, last] = from !== null && to !== null && from > to ? [to, from] : [from, to];
  return (first === null || first < until) && (last === null || last >= since);
}

export interface RunRow {
  readonly node: string;
  readonly agent: string;
  readonly time: string;
  readonly outcome: string;
  readonly every_ms: number | null;
  readonly reason: string | null;
}

/** What is here of a stream with holes, and which holes overlap the window. */
export interface Holes {
  readonly received: readonly Range[];
  readonly gaps: readonly Range[];
  readonly missing: number;
}

/** What throws doubt on one agent's account, in the window. */
export interface Doubts {
  readonly aheadMs: number | null;
  readonly losses: number;
  readonly loss: string | null;
  readonly differed: Stretch | null;
}

/** What the store knows of one agent on one node. */
export interface AgentFacts {
  readonly agent: string;
  /** Oldest epoch first. */
  readonly epochs: readonly StreamRow[];
  readonly run: RunRow | undefined;
  /** By epoch; none of a stream without holes. */
  readonly holes: ReadonlyMap<string, Holes>;
  /** How many, by epoch. */
  readonly forks: ReadonlyMap<string, number>;
  readonly doubts: Doubts;
  /** See `StreamState`. */
  readonly digest: boolean | null;
}

/** A node of the register, and what must be known of it to judge it. Times as stored. */
export interface Judged {
  readonly node: string;
  readonly host: string;
  readonly retired: string | null;
  /** Why, in a person's words. */
  readonly retiredFor: string | null;
  /** Whether it has reported since, in the window. */
  readonly returned: boolean;
  readonly span: Span;
  readonly question: Question;
}

/** Order of a stream among the epochs of its agent: the newest is last. One that only receipts know begins when they say so. */
export function epochOrder(a: StreamRow, b: StreamRow): number {
  return `${beginning(a)} ${a.epoch}` < `${beginning(b)} ${b.epoch}` ? -1 : 1;
}

function beginning({ started, named_time }: StreamRow): string {
  return started ?? named_time ?? '';
}

/** What a receipt names behind the last batch that is here, when that overlaps the window. */
function tailGap(stream: StreamRow, span: Span): Range[] {
  const { named_seq, last_seq, last_time, named_time } = stream;
  if (named_seq <= last_seq || !overlaps(last_time, named_time, span)) return [];
  return [{ from: last_seq + 1, to: named_seq }];
}

/** How the agent's runs keep their times. Receipts are made by every run of any agent, so they have no interval of their own. */
function punctuality(
  { retired, question }: Judged,
  { agent, run }: AgentFacts,
  seen: string | null,
): NodeState {
  if (agent === 'receipts' || seen === null) return 'complete';
  const end = Math.min(question.until.getTime(), question.now.getTime());
  if (retired !== null && storedMs(retired) < end) return 'complete';
  const state = lateness(end - storedMs(seen), run?.every_ms ?? null);
  return state === 'complete' && run?.outcome === 'failed' ? 'late' : state;
}

const NO_DOUBTS: Doubts = { aheadMs: null, losses: 0, loss: null, differed: null };

/** What all streams of an agent have in common, and what those have that have none of it. */
function common({ node, host, retired, retiredFor }: Judged, { agent, run, epochs }: AgentFacts) {
  return {
    node,
    host,
    agent,
    epochs: epochs.length,
    outcome: run?.outcome ?? null,
    reason: run?.reason ?? null,
    everyMs: run?.every_ms ?? null,
    retired: retired && fromStored(retired),
    retiredFor,
  };
}

/** The findings of a stream, from bad to good. */
function findingsOf(
  judged: Judged,
  found: Pick<StreamState, 'gaps' | 'forks' | 'restarted'> & Doubts,
  punctual: NodeState,
): Finding[] {
  const broken: Record<NodeState, boolean> = {
    forked: found.forks > 0,
    differs: found.differed !== null,
    gapped: found.gaps.length > 0,
    lost: found.losses > 0,
    restarted: found.restarted !== null,
    silent: punctual === 'silent',
    late: punctual === 'late',
    ahead: found.aheadMs !== null,
    returned: judged.returned,
    complete: false,
  };
  return NODE_STATES.filter((state): state is Finding => broken[state]);
}

function stateOf(judged: Judged, facts: AgentFacts, stream: StreamRow): StreamState {
  const { epochs, run } = facts;
  const { span } = judged;
  const newest = stream === epochs.at(-1);
  const seen = newest ? (run?.time ?? stream.last_time) : stream.last_time;
  const holes = facts.holes.get(stream.epoch);
  const tail = tailGap(stream, span);
  const whole = stream.batches > 0 ? [{ from: stream.first_seq, to: stream.last_seq }] : [];
  const began = beginning(stream);
  const isRestart = stream !== epochs[0] && began >= span.since && began < span.until;
  const found = {
    gaps: [...(holes?.gaps ?? []), ...tail],
    forks: facts.forks.get(stream.epoch) ?? 0,
    restarted: isRestart ? fromStored(began) : null,
    ...(newest ? facts.doubts : NO_DOUBTS),
  };
  const findings = findingsOf(judged, found, newest ? punctuality(judged, facts, seen) : 'complete');
  return {
    ...common(judged, facts),
    epoch: stream.epoch,
    state: findings[0] ?? 'complete',
    findings,
    seen: seen && fromStored(seen),
    lastSeq: stream.last_seq,
    batches: stream.batches,
    received: holes?.received ?? whole,
    ...found,
    missing: (holes?.missing ?? 0) + tail.reduce((sum, { from, to }) => sum + to - from + 1, 0),
    digest: newest ? facts.digest : null,
  };
}

const NO_STREAM = {
  epoch: null,
  lastSeq: 0,
  batches: 0,
  received: [],
  gaps: [],
  missing: 0,
  forks: 0,
  restarted: null,
  digest: null,
};

/** An agent that ran and has written no batch yet, such as one whose sources are absent. */
function withoutStream(judged: Judged, facts: AgentFacts, run: RunRow): StreamState {
  const found = { ...NO_STREAM, ...facts.doubts };
  const findings = findingsOf(judged, found, punctuality(judged, facts, run.time));
  const state = findings[0] ?? 'complete';
  return { ...common(judged, facts), ...found, state, findings, seen: fromStored(run.time) };
}

/** The streams of one agent on one node: the newest epoch, and those before it that reach into the window or lack something. */
export function statesOf(judged: Judged, facts: AgentFacts): StreamState[] {
  const { epochs, run } = facts;
  if (epochs.length === 0) return run ? [withoutStream(judged, facts, run)] : [];
  return epochs.flatMap((stream) => {
    const state = stateOf(judged, facts, stream);
    const past = stream !== epochs.at(-1) && (stream.last_time ?? '') < judged.span.since;
    return past && state.state === 'complete' ? [] : [state];
  });
}

/** A node of the register that has never reported. */
export function neverReported({ node, host, retired, retiredFor }: Judged): StreamState {
  const findings: Finding[] = retired === null ? ['silent'] : [];
  return {
    node,
    host,
    agent: null,
    ...NO_STREAM,
    ...NO_DOUBTS,
    state: findings[0] ?? 'complete',
    findings,
    seen: null,
    epochs: 0,
    outcome: null,
    reason: 'never reported',
    everyMs: null,
    retired: retired && fromStored(retired),
    retiredFor,
  };
}

/** The window of a question as it is for a node. */
export function spanOf({ since, until }: Question, retired: string | null): Span {
  const end = storedDate(until);
  return { since: storedDate(since), until: retired !== null && retired < end ? retired : end };
}
