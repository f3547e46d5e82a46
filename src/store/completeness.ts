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
import { sql } from 'kysely';
import { stateDigest } from '../spool/canonical.ts';
import type { Window } from './events.ts';
import type { Store } from './store.ts';
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

export interface Counts {
  nodes: number;
  complete: number;
  late: number;
  gapped: number;
  silent: number;
  forked: number;
}

/** How many nodes are in which state, and for people, which and why. */
export interface Completeness {
  readonly counts: Counts;
  /** Up to `NAMED` nodes per state that is not complete, worst stream first: `web7 packages 881–894`. */
  readonly named: Readonly<Record<Exclude<NodeState, 'complete'>, readonly string[]>>;
}

const NAMED = 5;
const PAGE = 200;

/** Whether an agent that last ran `ageMs` ago is on time (see above). `everyMs` is null where no receipt says how often it is due. */
export function lateness(ageMs: number, everyMs: number | null): 'silent' | 'late' | 'complete' {
  if (ageMs > Math.max(3 * (everyMs ?? 0), DAY)) return 'silent';
  if (everyMs !== null && ageMs > 2 * everyMs + 10 * MINUTE) return 'late';
  return 'complete';
}

interface AgentRow {
  readonly node: string;
  readonly agent: string;
  readonly time: string;
  readonly outcome: string;
  readonly every_ms: number | null;
  readonly reason: string | null;
}

/** Everything that bears on one page of nodes. */
interface Facts {
  readonly streams: StreamRow[];
  readonly agents: AgentRow[];
  /** By stream key. */
  readonly holes: Map<string, Gap[]>;
  readonly forks: Map<string, number>;
}

const streamKey = (row: { node: string; agent: string; epoch: string }): string =>
  `${row.node} ${row.agent} ${row.epoch}`;
const ownerKey = (row: { node: string; agent: string }): string => `${row.node} ${row.agent}`;

function overlaps(from: string | null, to: string | null, since: string, until: string): boolean {
  return (from === null || from < until) && (to === null || to >= since);
}

/** Holes between batches that are here, or before the first of them, that overlap the window. */
async function findHoles(
  store: Store,
  streams: readonly StreamRow[],
  since: string,
  until: string,
): Promise<Map<string, Gap[]>> {
  const holes = new Map<string, Gap[]>();
  for (const { node, agent, epoch, batches, last_seq } of streams) {
    if (batches >= last_seq) continue;
    const numbered = store.db
      .selectFrom('batches')
      .select(['seq', 'time'])
      .select(sql<number | null>`lag(seq) over (order by seq)`.as('before_seq'))
      .select(sql<string | null>`lag(time) over (order by seq)`.as('before_time'))
      .where('node', '=', node)
      .where('agent', '=', agent)
      .where('epoch', '=', epoch);
    const rows = await store.db
      .selectFrom(numbered.as('n'))
      .selectAll()
      .where(sql<boolean>`seq > coalesce(before_seq, 0) + 1`)
      .orderBy('seq')
      .execute();
    const found = rows.filter((row) => overlaps(row.before_time, row.time, since, until));
    holes.set(
      streamKey({ node, agent, epoch }),
      found.map((row) => ({ from: (row.before_seq ?? 0) + 1, to: row.seq - 1 })),
    );
  }
  return holes;
}

async function findForks(
  store: Store,
  nodes: readonly string[],
  since: string,
  until: string,
): Promise<Map<string, number>> {
  const rows = await store.db
    .selectFrom('forks')
    .select(['node', 'agent', 'epoch'])
    .select((eb) => eb.fn.countAll<number>().as('forks'))
    .where('node', 'in', nodes)
    .where('time', '>=', since)
    .where('time', '<', until)
    .groupBy(['node', 'agent', 'epoch'])
    .execute();
  return new Map(rows.map((row) => [streamKey(row), Number(row.forks)]));
}

async function gather(store: Store, nodes: readonly string[], question: Question): Promise<Facts> {
  const since = storedDate(question.since);
  const until = storedDate(question.until);
  const streams = await store.db.selectFrom('streams').selectAll().where('node', 'in', nodes).execute();
  const agents = await store.db
    .selectFrom('agents')
    .select(['node', 'agent', 'time', 'outcome', 'every_ms', 'reason'])
    .where('node', 'in', nodes)
    .execute();
  const holes = await findHoles(store, streams, since, until);
  const forks = await findForks(store, nodes, since, until);
  return { streams, agents, holes, forks };
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
function epochOrder(a: StreamRow, b: StreamRow): number {
  const start = (one: StreamRow): string => `${one.started ?? one.named_time} ${one.epoch}`;
  return start(a) < start(b) ? -1 : 1;
}

/** What the store knows of one agent on one node. */
interface AgentFacts {
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
function statesOf(subject: AgentFacts, facts: Facts, question: Question): StreamState[] {
  const { epochs, run } = subject;
  if (epochs.length === 0) return run ? [withoutStream(subject, run, question)] : [];
  const since = storedDate(question.since);
  return epochs.flatMap((stream) => {
    const state = stateOf(subject, stream, facts, question);
    const past = stream !== epochs.at(-1) && (stream.last_time ?? '') < since;
    return past && state.state === 'complete' ? [] : [state];
  });
}

/** The nodes of a question, by host name. */
async function nodesOf(
  store: Store,
  nodes: readonly string[] | undefined,
): Promise<{ node: string; host: string }[]> {
  const rows = await store.db
    .selectFrom('nodes')
    .select(['node', 'host'])
    .orderBy('host')
    .orderBy('node')
    .execute();
  if (nodes === undefined) return rows;
  const wanted = new Set(nodes);
  return rows.filter(({ node }) => wanted.has(node));
}

/** The state of every stream, node by node in the order of host names; all streams of a node come in one array. */
export async function* streamStates(store: Store, question: Question): AsyncGenerator<StreamState[]> {
  const nodes = await nodesOf(store, question.nodes);
  for (let at = 0; at < nodes.length; at += PAGE) {
    const page = nodes.slice(at, at + PAGE);
    const facts = await gather(
      store,
      page.map(({ node }) => node),
      question,
    );
    const streams = Map.groupBy(facts.streams, ownerKey);
    const runs = new Map(facts.agents.map((run) => [ownerKey(run), run]));
    const agentsOf = Map.groupBy([...facts.streams, ...facts.agents], ({ node }) => node);
    for (const node of page) {
      const agents = [...new Set((agentsOf.get(node.node) ?? []).map(({ agent }) => agent))].sort();
      yield agents.flatMap((agent) => {
        const key = ownerKey({ node: node.node, agent });
        const epochs = (streams.get(key) ?? []).sort(epochOrder);
        return statesOf({ ...node, agent, epochs, run: runs.get(key) }, facts, question);
      });
    }
  }
}

function worst(streams: readonly StreamState[]): StreamState | undefined {
  const rank = ({ state }: StreamState): number => NODE_STATES.indexOf(state);
  return streams.reduce<StreamState | undefined>((a, b) => (a && rank(a) <= rank(b) ? a : b), undefined);
}

/** `881–894, 900`: the numbers that are missing. */
export function gapText(gaps: readonly Gap[]): string {
  return gaps.map(({ from, to }) => (from === to ? `${from}` : `${from}–${to}`)).join(', ');
}

function nameOf({ host, agent, state, gaps, outcome }: StreamState): string {
  if (state === 'late' && outcome === 'failed') return `${host} ${agent} (last run failed)`;
  if (state === 'gapped')
    return `${host} ${agent} ${gapText(gaps.slice(0, 3))}${gaps.length > 3 ? ', …' : ''}`;
  return state === 'forked' ? `${host} ${agent}` : host;
}

/** Counts nodes by state. */
export async function completenessOf(store: Store, question: Question): Promise<Completeness> {
  const counts: Counts = { nodes: 0, complete: 0, late: 0, gapped: 0, silent: 0, forked: 0 };
  const named: Record<Exclude<NodeState, 'complete'>, string[]> = {
    forked: [],
    gapped: [],
    silent: [],
    late: [],
  };
  for await (const streams of streamStates(store, question)) {
    const stream = worst(streams);
    if (!stream) continue;
    counts.nodes++;
    counts[stream.state]++;
    if (stream.state !== 'complete' && named[stream.state].length < NAMED)
      named[stream.state].push(nameOf(stream));
  }
  return { counts, named };
}

/** `complete: 1 of 1 nodes`, or what is missing: `incomplete: 3 of 5 nodes complete; 1 late: web3; 1 gapped: web7 packages 881–894`. */
export function headLine({ counts, named }: Completeness): string {
  if (counts.nodes === 0) return 'incomplete: no node has reported yet';
  if (counts.complete === counts.nodes) return `complete: ${counts.complete} of ${counts.nodes} nodes`;
  const parts = (['late', 'silent', 'gapped', 'forked'] as const).flatMap((state) => {
    if (counts[state] === 0) return [];
    const more = counts[state] - named[state].length;
    return [`${counts[state]} ${state}: ${named[state].join(', ')}${more > 0 ? ` and ${more} more` : ''}`];
  });
  return [`incomplete: ${counts.complete} of ${counts.nodes} nodes complete`, ...parts].join('; ');
}

/**
 * Whether the items that the store holds of an agent on a node are those that its newest inventory batch says there are: the proof that the
 * events account for the state. Null where it has no inventory.
 */
export async function digestAgrees(
  store: Store,
  node: string,
  agent: string,
  epoch: string,
): Promise<boolean | null> {
  const newest = await store.db
    .selectFrom('batches')
    .select('state_digest')
    .where('node', '=', node)
    .where('agent', '=', agent)
    .where('epoch', '=', epoch)
    .where('state_digest', 'is not', null)
    .orderBy('seq', 'desc')
    .limit(1)
    .executeTakeFirst();
  if (!newest) return null;
  const items = await store.db
    .selectFrom('items')
    .select(['item', 'fields_json'])
    .where('node', '=', node)
    .where('agent', '=', agent)
    .where('to_batch', 'is', null)
    .execute();
  return (
    stateDigest(items.map(({ item, fields_json }) => [item, fields_json] as const)) === newest.state_digest
  );
}
