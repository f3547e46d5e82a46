/** Reads what completeness is judged by: a few queries for a page of nodes, however many streams and batches they have. */
import { type RawBuilder, sql } from 'kysely';
import { fieldsSchema } from '../spool/batch.ts';
import {
  type AgentFacts,
  type Doubts,
  epochOrder,
  type Holes,
  type Judged,
  MOST_RANGES,
  overlaps,
  type Range,
  type RunRow,
  type Span,
  type Stretch,
} from './completeness-rules.ts';
import { rowsOf } from './pages.ts';
import type { Store } from './store.ts';
import { fieldsText } from './summary.ts';
import type { StreamRow } from './tables.ts';
import { fromStored } from './times.ts';

interface Owner {
  readonly node: string;
  readonly agent: string;
}

const ownerKey = ({ node, agent }: Owner): string => `${node} ${agent}`;
const streamKey = ({ node, agent, epoch }: Owner & { readonly epoch: string }): string =>
  `${node} ${agent} ${epoch}`;

/** By the key of a stream. */
export type Digests = ReadonlyMap<string, boolean>;

/** The nodes of a page by id. */
type Page = ReadonlyMap<string, Judged>;

const idsOf = (page: Page): string[] => [...page.keys()];

/** What is kept of a stream while its ranges pass. */
interface Passing {
  readonly received: Range[];
  readonly gaps: Range[];
  missing: number;
  last: { readonly seq: number; readonly time: string | null };
}

/** Holes of the streams that have some: between batches that are here, or before the first of them. */
async function findHoles({ db }: Store, page: Page): Promise<Map<string, Holes>> {
  const found = new Map<string, Passing>();
  const ranges = db
    .selectFrom('streams as s')
    .innerJoin('ranges as r', (join) =>
      join.onRef('r.node', '=', 's.node').onRef('r.agent', '=', 's.agent').onRef('r.epoch', '=', 's.epoch'),
    )
    .select(['r.node', 'r.agent', 'r.epoch', 'r.first_seq', 'r.last_seq', 'r.first_time', 'r.last_time'])
    .where('s.node', 'in', idsOf(page))
    .whereRef('s.batches', '<', 's.last_seq')
    .orderBy('r.node')
    .orderBy('r.agent')
    .orderBy('r.epoch')
    .orderBy('r.first_seq');
  for await (const row of ranges.stream()) {
    const key = streamKey(row);
    const passing: Passing = found.get(key) ?? {
      received: [],
      gaps: [],
      missing: 0,
      last: { seq: 0, time: null },
    };
    found.set(key, passing);
    const { received, gaps, last } = passing;
    const isHole = row.first_seq > last.seq + 1;
    if (isHole && overlaps(last.time, row.first_time, page.get(row.node)!.span)) {
      passing.missing += row.first_seq - last.seq - 1;
      if (gaps.length < MOST_RANGES) gaps.push({ from: last.seq + 1, to: row.first_seq - 1 });
    }
    if (received.length < MOST_RANGES) received.push({ from: row.first_seq, to: row.last_seq });
    passing.last = { seq: row.last_seq, time: row.last_time };
  }
  return found;
}

/** How many forks each stream has in the window; none where the first of them came after the node's retirement. */
async function findForks({ db }: Store, page: Page, { since, until }: Span): Promise<Map<string, number>> {
  const rows = await db
    .selectFrom('forks')
    .select(['node', 'agent', 'epoch'])
    .select((eb) => [eb.fn.countAll<number>().as('forks'), eb.fn.min('time').as('first')])
    .where('node', 'in', idsOf(page))
    .where('time', '>=', since)
    .where('time', '<', until)
    .groupBy(['node', 'agent', 'epoch'])
    .execute();
  const counted = rows.filter(({ node, first }) => first < page.get(node)!.span.until);
  return new Map(counted.map((row) => [streamKey(row), Number(row.forks)]));
}

/** How far times were ahead that came in the window, or that tell of it. */
async function findAhead({ db }: Store, page: Page): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  const rows = await db.selectFrom('ahead').selectAll().where('node', 'in', idsOf(page)).execute();
  for (const row of rows) {
    const { span } = page.get(row.node)!;
    const bears =
      overlaps(row.first_loaded, row.last_loaded, span) || overlaps(row.first_told, row.last_told, span);
    const key = ownerKey(row);
    if (bears) found.set(key, Math.max(found.get(key) ?? 0, row.ahead_ms));
  }
  return found;
}

/**
 * Streams whose agent's clock was once ahead, with times not later than they came: that of a node's own word orders its events, but one from next year must
 * neither hide that the next epoch was a restart nor keep an agent alive.
 */
async function boundByArrival(
  { db }: Store,
  page: Page,
  streams: readonly StreamRow[],
): Promise<readonly StreamRow[]> {
  const rows = await db
    .selectFrom('streams as s')
    .innerJoin('ranges as r', (join) =>
      join.onRef('r.node', '=', 's.node').onRef('r.agent', '=', 's.agent').onRef('r.epoch', '=', 's.epoch'),
    )
    .innerJoin('ahead as a', (join) => join.onRef('a.node', '=', 's.node').onRef('a.agent', '=', 's.agent'))
    .select(['r.node', 'r.agent', 'r.epoch', 'r.first_seq', 'r.last_seq', 'r.first_time', 'r.last_time'])
    .distinct()
    .where('a.node', 'in', idsOf(page))
    .where((eb) =>
      eb.or([eb('r.first_seq', '=', eb.ref('s.first_seq')), eb('r.last_seq', '=', eb.ref('s.last_seq'))]),
    )
    .execute();
  const ranges = Map.groupBy(rows, streamKey);
  return streams.map((stream) => {
    const some = ranges.get(streamKey(stream)) ?? [];
    const started = some.find(({ first_seq }) => first_seq === stream.first_seq)?.first_time;
    const last_time = some.find(({ last_seq }) => last_seq === stream.last_seq)?.last_time;
    return { ...stream, ...(started && { started }), ...(last_time && { last_time }) };
  });
}

interface Losses {
  readonly losses: number;
  readonly loss: string | null;
}

/** Losses of source in the window, and the words of the last one. */
async function findLosses({ db }: Store, page: Page, { since, until }: Span): Promise<Map<string, Losses>> {
  const rows = await db
    .selectFrom('losses as l')
    .innerJoin('events as e', (join) => join.onRef('e.batch', '=', 'l.batch').onRef('e.idx', '=', 'l.idx'))
    .select(['l.node', 'l.agent', 'l.time', 'e.source', 'e.data_json'])
    .where('l.node', 'in', idsOf(page))
    .where('l.time', '>=', since)
    .where('l.time', '<', until)
    .orderBy('l.time')
    .orderBy('l.batch')
    .orderBy('l.idx')
    .execute();
  const found = new Map<string, Losses>();
  for (const row of rows) {
    if (row.time >= page.get(row.node)!.span.until) continue;
    const data = row.data_json === null ? {} : fieldsSchema.parse(JSON.parse(row.data_json));
    const loss = [row.source, fieldsText(data)].filter((part) => part).join(': ');
    found.set(ownerKey(row), { losses: (found.get(ownerKey(row))?.losses ?? 0) + 1, loss });
  }
  return found;
}

/** The last stretch of each inventory in the window in which its replayed state was another than told. */
async function findMismatches({ db }: Store, page: Page): Promise<Map<string, Stretch>> {
  const rows = await db
    .selectFrom('mismatches')
    .select(['node', 'agent', 'from_time', 'to_time'])
    .where('node', 'in', idsOf(page))
    .orderBy('from_batch')
    .execute();
  const found = new Map<string, Stretch>();
  for (const row of rows) {
    if (!overlaps(row.from_time, row.to_time, page.get(row.node)!.span)) continue;
    const to = row.to_time === null ? null : fromStored(row.to_time);
    found.set(ownerKey(row), { from: fromStored(row.from_time), to });
  }
  return found;
}

const LASTS: RawBuilder<number> = sql`exists (
  select 1 from mismatches m where m.node = s.node and m.agent = s.agent and m.to_batch is null)`;

/** Asked for each stream by its key: of a join, SQLite's planner reads all batches that the nodes have ever made. */
const OF_INVENTORY: RawBuilder<number> = sql`exists (
  select 1 from batches b where b.node = s.node and b.agent = s.agent and b.epoch = s.epoch and b.seq = s.last_seq
    and b.state_digest is not null)`;

/** Of each stream whose newest batch is of an inventory: whether the state behind it is as told. By the stream's key. */
export async function findDigests(store: Store, page: Page): Promise<Digests> {
  const rows = await rowsOf(
    store,
    store.db
      .selectFrom('streams as s')
      .select(['s.node', 's.agent', 's.epoch'])
      .select([OF_INVENTORY.as('of_inventory'), LASTS.as('lasts')])
      .where('s.node', 'in', idsOf(page)),
  );
  return new Map(
    rows
      .filter((row) => Number(row.of_inventory) === 1)
      .map((row) => [streamKey(row), Number(row.lasts) === 0]),
  );
}

/**
 * Everything that bears on the agents of a page of nodes: by node, its agents in the order of their names. `span`: the window, for all nodes.
 * `digests`: what `findDigests` found, where that is wanted.
 */
export async function gather(
  store: Store,
  page: Page,
  span: Span,
  digests: Digests,
): Promise<Map<string, AgentFacts[]>> {
  const streams = await boundByArrival(
    store,
    page,
    await rowsOf(store, store.db.selectFrom('streams').selectAll().where('node', 'in', idsOf(page))),
  );
  const runs: RunRow[] = await rowsOf(
    store,
    store.db
      .selectFrom('agents')
      .select(['node', 'agent', 'time', 'outcome', 'every_ms', 'reason'])
      .where('node', 'in', idsOf(page)),
  );
  const holes = await findHoles(store, page);
  const forks = await findForks(store, page, span);
  const ahead = await findAhead(store, page);
  const losses = await findLosses(store, page, span);
  const mismatches = await findMismatches(store, page);

  const streamsOf = Map.groupBy(streams, ownerKey);
  const runOf = new Map(runs.map((run) => [ownerKey(run), run]));
  const owners = new Map([...streams, ...runs].map((row) => [ownerKey(row), row]));
  const sorted = [...owners.values()].sort((a, b) => (a.agent < b.agent ? -1 : 1));
  const factsOf = (owner: Owner): AgentFacts => {
    const key = ownerKey(owner);
    const epochs = (streamsOf.get(key) ?? []).sort(epochOrder);
    const doubts: Doubts = {
      aheadMs: ahead.get(key) ?? null,
      ...(losses.get(key) ?? { losses: 0, loss: null }),
      differed: mismatches.get(key) ?? null,
    };
    const newest = epochs.at(-1);
    return {
      agent: owner.agent,
      epochs,
      run: runOf.get(key),
      holes: byEpoch(epochs, holes),
      forks: byEpoch(epochs, forks),
      doubts,
      digest: (newest && digests.get(streamKey(newest))) ?? null,
    };
  };
  const facts = new Map<string, AgentFacts[]>();
  for (const owner of sorted) {
    const agents = facts.get(owner.node) ?? [];
    facts.set(owner.node, agents);
    agents.push(factsOf(owner));
  }
  return facts;
}

/** What is known of these streams, by epoch. */
function byEpoch<T>(epochs: readonly StreamRow[], known: ReadonlyMap<string, T>): Map<string, T> {
  const found = new Map<string, T>();
  for (const stream of epochs) {
    const fact = known.get(streamKey(stream));
    if (fact !== undefined) found.set(stream.epoch, fact);
  }
  return found;
}
