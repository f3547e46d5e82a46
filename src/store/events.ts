/** Reads events back: typed rows, in order, streamed. */
import { type CompiledQuery, type InferResult, type RawBuilder, sql } from 'kysely';
import { type By, bySchema, type Fields, fieldsSchema, isFields } from '../spool/batch.ts';
import { pagesOf } from './pages.ts';
import type { Store } from './store.ts';
import { fromStored, storedDate, storedMs } from './times.ts';

/** The part of the store that a question is about. */
export interface Window {
  /** Events from this moment … */
  readonly since: Date;
  /** … up to but not including this one, by their own time: one that is recorded late still stands where it happened. */
  readonly until: Date;
  /** Ids of nodes, or undefined for all. */
  readonly nodes?: readonly string[] | undefined;
}

/** An event as the store has it. Times are RFC 3339. */
export interface StoredEvent {
  readonly time: string;
  /** It happened after this; null when `time` is exact. */
  readonly since: string | null;
  readonly node: string;
  /** The node's host name when it made the batch. */
  readonly host: string;
  readonly agent: string;
  readonly action: string;
  readonly item: string | null;
  readonly source: string | null;
  /** Found by comparing a snapshot with what was known, not told by any event. */
  readonly derived: boolean;
  readonly before: Fields | undefined;
  readonly after: Fields | undefined;
  readonly by: By | undefined;
  readonly data: Fields | undefined;
}

/** Most nodes that a question names: a database limits what one may hold. Of more, all rows are read, and those of others passed over. */
const MOST_NODES = 1000;

/** The nodes of a window as far as a question can name them. */
function namedIn({ nodes }: Window): readonly string[] | undefined {
  return nodes === undefined || nodes.length > MOST_NODES ? undefined : nodes;
}

/** Of every event, with its batch's host name. */
function selectEvents(store: Store, window: Window) {
  const nodes = namedIn(window);
  const query = store.db
    .selectFrom('events as e')
    .innerJoin('batches as b', 'b.id', 'e.batch')
    .select([
      'e.time',
      'e.since',
      // A name of its own is what a union can be ordered by.
      'e.node as node',
      'b.host',
      'e.agent',
      'e.action',
      'e.item',
      'e.source',
      'e.derived',
    ])
    .select(['e.before_json', 'e.after_json', 'e.by_json', 'e.data_json', 'b.epoch', 'b.kind'])
    // `present` only says what was there when a source was first read.
    .where('e.action', '<>', 'present');
  return nodes === undefined ? query : query.where('e.node', 'in', nodes);
}

type EventRow = InferResult<ReturnType<typeof selectEvents>>[number];

function fieldsOf(json: string | null): Fields | undefined {
  if (json === null) return undefined;
  const value: unknown = JSON.parse(json);
  return isFields(value) ? value : fieldsSchema.parse(value);
}

let lastBy: { readonly json: string; readonly by: By } | undefined;

/** Who did it. What one command did stands together, so that the last answer is kept. */
function byOf(json: string | null): By | undefined {
  if (json === null) return undefined;
  if (lastBy?.json !== json) lastBy = { json, by: bySchema.parse(JSON.parse(json)) };
  return lastBy.by;
}

function storedEvent(row: EventRow): StoredEvent {
  return {
    time: fromStored(row.time),
    since: row.since === null ? null : fromStored(row.since),
    node: row.node,
    host: row.host,
    agent: row.agent,
    action: row.action,
    item: row.item,
    source: row.source,
    derived: row.derived === 1,
    before: fieldsOf(row.before_json),
    after: fieldsOf(row.after_json),
    by: byOf(row.by_json),
    data: fieldsOf(row.data_json),
  };
}

/** What a log event says, whichever batch brought it. */
function wordsOf(row: EventRow): string {
  const { node, agent, action, item, source, before_json, after_json, by_json, data_json } = row;
  return JSON.stringify([node, agent, action, item, source, before_json, after_json, by_json, data_json]);
}

/**
 * Tells what a log agent told again: one that lost its state begins a new epoch and reads its logs from the start. Equal events of one epoch are as
 * many things; those of another epoch are the same things. Sees rows in order of time, then node; holds what happened on one node at one moment.
 */
class Retelling {
  #time = '';
  #node = '';
  #rows: EventRow[] = [];
  /** By words, then epoch, how often; none while all rows are of one epoch, as nearly always. */
  #told: Map<string, Map<string, number>> | undefined;

  /** Whether a row is of a thing that no row before it told. */
  isNew(row: EventRow): boolean {
    if (row.kind !== 'log') return true;
    if (row.time !== this.#time || row.node !== this.#node) {
      [this.#time, this.#node] = [row.time, row.node];
      this.#rows = [];
      this.#told = undefined;
    }
    if (this.#told) return this.#count(this.#told, row);
    this.#rows.push(row);
    if (row.epoch === this.#rows[0]!.epoch) return true;
    this.#told = new Map();
    let isNew = true;
    for (const one of this.#rows) isNew = this.#count(this.#told, one);
    return isNew;
  }

  #count(told: Map<string, Map<string, number>>, row: EventRow): boolean {
    const words = wordsOf(row);
    const byEpoch = told.get(words) ?? new Map<string, number>();
    told.set(words, byEpoch);
    const most = Math.max(0, ...byEpoch.values());
    const count = (byEpoch.get(row.epoch) ?? 0) + 1;
    byEpoch.set(row.epoch, count);
    return count > most;
  }
}

/** The rows of a question, which must ask for them in order of time, then node; without what was told again. */
async function* toldOnce<R extends EventRow>(
  store: Store,
  { nodes }: Window,
  question: { compile(): CompiledQuery<R> },
): AsyncGenerator<R[]> {
  const retelling = new Retelling();
  const wanted = nodes && new Set(nodes);
  for await (const page of pagesOf(store, question))
    yield page.filter((row) => (wanted?.has(row.node) ?? true) && retelling.isNew(row));
}

/**
 * Streams the events in a window, oldest first, then by node; of all agents when none is named. On SQLite nothing else may be asked of the
 * store until it ends: there is one connection.
 */
export async function* eventsIn(
  store: Store,
  window: Window,
  agents?: readonly string[],
): AsyncGenerator<StoredEvent> {
  let query = selectEvents(store, window)
    .where('e.time', '>=', storedDate(window.since))
    .where('e.time', '<', storedDate(window.until));
  if (agents !== undefined) query = query.where('e.agent', 'in', agents);
  const ordered = query.orderBy('e.time').orderBy('e.node').orderBy('e.batch').orderBy('e.idx');
  for await (const page of toldOnce(store, window, ordered)) for (const row of page) yield storedEvent(row);
}

/** An event of `logins` with what else the store knows of its session. */
export interface SessionEvent extends StoredEvent {
  /** Of a login: its logout, when that has come. */
  readonly logout: { readonly time: string; readonly data: Fields | undefined } | undefined;
}

const SAME_SESSION = sql`o.node = e.node and o.agent = e.agent and o.item = e.item`;

/** One column of the first logout behind a login, as an expression. */
function ofLogout(column: 'time' | 'data_json'): RawBuilder<string | null> {
  return sql<string | null>`
    case when e.action = 'login' then (
      select ${sql.ref(`o.${column}`)} from events o where ${SAME_SESSION} and o.action = 'logout' and o.time >= e.time
      order by o.time, o.batch, o.idx limit 1) end`;
}

/** How far beyond a window two sources' words of one thing within it may reach, and those of what is close to that. */
export const SESSION_REACH = 60_000;

function beyond(moment: Date, ms: number): Date {
  return new Date(moment.getTime() + ms);
}

/**
 * Streams what happened to sessions in a window, and close to its edges, where what is in it may have partners. A logout whose login is well within the
 * window comes with the login, not by itself.
 */
export async function* sessionEventsIn(store: Store, window: Window): AsyncGenerator<SessionEvent> {
  const within = storedDate(beyond(window.since, SESSION_REACH));
  const query = selectEvents(store, window)
    .select([ofLogout('time').as('out_time'), ofLogout('data_json').as('out_data')])
    .where('e.agent', '=', 'logins')
    .where('e.time', '>=', storedDate(beyond(window.since, -SESSION_REACH)))
    .where('e.time', '<', storedDate(beyond(window.until, SESSION_REACH)))
    .where(
      sql<boolean>`not (e.action = 'logout' and exists (
        select 1 from events o where ${SAME_SESSION} and o.action = 'login' and o.time >= ${within} and o.time <= e.time))`,
    )
    .orderBy('e.time')
    .orderBy('e.node')
    .orderBy('e.batch')
    .orderBy('e.idx');
  for await (const page of toldOnce(store, window, query)) {
    for (const row of page) {
      const { out_time, out_data } = row;
      const logout = out_time === null ? undefined : { time: fromStored(out_time), data: fieldsOf(out_data) };
      yield { ...storedEvent(row), logout };
    }
  }
}

const HOUR = 3_600_000;
/** How far beyond a window a transaction may reach that did something within it, and the run that observed what it did. */
const LONGEST_TRANSACTION = 6 * HOUR;
/** How far behind a window a run is still looked for that observed a change within it. */
const LATEST_LOOK = 48 * HOUR;
/** When the earliest of the changes that inventories observed in a window, or just before it, can have happened. */
async function earliestObserved(store: Store, window: Window): Promise<Date> {
  let query = store.db
    .selectFrom('events')
    .select((eb) => eb.fn.min('since').as('first'))
    .where('agent', '=', 'packages')
    .where('time', '>=', storedDate(beyond(window.since, -LONGEST_TRANSACTION)))
    .where('time', '<', storedDate(window.until));
  const nodes = namedIn(window);
  if (nodes !== undefined) query = query.where('node', 'in', nodes);
  const first = (await query.executeTakeFirst())?.first;
  return first ? new Date(Math.min(storedMs(first), window.since.getTime())) : window.since;
}

/**
 * Streams what bears on package changes in a window, ordered by the earliest moment that each can have happened: what managers recorded, and what
 * inventories observed, which happened some time in (since, time]. Reaches past the window's edges, where a change near them may have partners. In pages.
 */
export async function* packageEventsIn(store: Store, window: Window): AsyncGenerator<StoredEvent[]> {
  const from = storedDate(beyond(await earliestObserved(store, window), -LONGEST_TRANSACTION));
  const to = storedDate(beyond(window.until, LONGEST_TRANSACTION));
  const firstLook = storedDate(beyond(window.since, -LONGEST_TRANSACTION));
  const lastLook = storedDate(beyond(window.until, LATEST_LOOK));
  const ranked = selectEvents(store, window).select(['e.batch as batch', 'e.idx as idx']);
  const recorded = ranked
    .select('e.time as begins')
    .where('e.agent', '=', 'package-history')
    .where('e.time', '>=', from)
    .where('e.time', '<', to);
  const observed = ranked
    .select((eb) => eb.fn.coalesce('e.since', 'e.time').as('begins'))
    .where('e.agent', '=', 'packages')
    .where('e.time', '>=', firstLook)
    .where('e.time', '<', lastLook)
    // What a transaction that began in the window did may be seen to be done between two looks behind it.
    .where((eb) => eb.or([eb('e.time', '<', to), eb('e.since', '<', to)]));
  // Two questions, since SQLite then sorts only what is observed: what is recorded comes in the order of an index.
  const query = recorded.unionAll(observed).orderBy('begins').orderBy('node').orderBy('batch').orderBy('idx');
  for await (const page of toldOnce(store, window, query)) yield page.map(storedEvent);
}
