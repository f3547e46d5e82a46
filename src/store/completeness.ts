/** Asks the store how complete the account of each node is: a few queries for each page of nodes. The rules are in completeness-rules.ts. */
import { sql } from 'kysely';
import { stateDigest } from '../spool/canonical.ts';
import {
  epochOrder,
  type Facts,
  type Gap,
  NODE_STATES,
  type NodeState,
  overlaps,
  ownerKey,
  type Question,
  type StreamState,
  statesOf,
  streamKey,
} from './completeness-rules.ts';
import { type Completeness, type Counts, NAMED, nameOf } from './completeness-words.ts';
import type { Store } from './store.ts';
import type { StreamRow } from './tables.ts';
import { storedDate } from './times.ts';

const PAGE = 200;

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
