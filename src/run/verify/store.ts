/** The store against the archive: each batch's row and its events, and the inventories that they add up to. */
import { createHash, type Hash } from 'node:crypto';
import { sql } from 'kysely';
import type { Batch, StreamKey } from '../../spool/batch.ts';
import { digestAgrees } from '../../store/completeness.ts';
import { eventRow } from '../../store/load.ts';
import type { Store } from '../../store/store.ts';
import { type Finding, placed, type Row } from './findings.ts';
import type { Ledger } from './ledger.ts';

const PAGE = 500;
/** Rows of events that are read at once. */
const MOST_EVENTS = 5000;

interface Stored extends StreamKey {
  readonly id: number;
  readonly seq: number;
  readonly sha256: string;
  readonly events: number;
  readonly kind: string;
  readonly host: string;
}

const SCHEMA = `
  create table stored (node text, agent text, epoch text, seq integer, sha256 text, primary key (node, agent, epoch, seq, sha256)) without rowid`;

const FIND = `
  select b.sha256, b.events, b.content from batches b join streams s on s.id = b.stream
  where s.node = ? and s.agent = ? and s.epoch = ? and b.seq = ?`;

const NOT_STORED = `
  select s.node, s.agent, s.epoch, s.host, b.seq, b.sha256, f.label, b.at
  from batches b join streams s on s.id = b.stream join files f on f.id = b.file
  where not exists (select 1 from stored o where o.node = s.node and o.agent = s.agent and o.epoch = s.epoch and o.seq = b.seq and o.sha256 = b.sha256)
    and not exists (select 1 from waiting w where w.stream = b.stream and w.seq = b.seq and w.sha256 = b.sha256)
  order by b.file, b.at`;

type EventRow = Omit<ReturnType<typeof eventRow>, 'batch' | 'node' | 'agent' | 'derived'>;

function addRow(hash: Hash, row: EventRow): void {
  const { idx, time, since, collected, action, item, source, before_json, after_json, by_json, data_json } =
    row;
  const json = [before_json, after_json, by_json, data_json];
  hash.update(`${JSON.stringify([idx, time, since, collected, action, item, source, ...json])}\n`);
}

/** A digest of events as the store holds them, row after row. */
function digestOf(rows: Iterable<EventRow>): string {
  const hash = createHash('sha256');
  for (const row of rows) addRow(hash, row);
  return hash.digest('hex');
}

/** The digest of what the store must hold of a batch's events; undefined for those that it keeps in another form. */
export function contentOf(batch: Batch): string | undefined {
  const { kind } = batch.header;
  if (kind !== 'changes' && kind !== 'log') return undefined;
  return digestOf(batch.events().map((event, idx) => eventRow({ id: 0, batch }, event, idx)));
}

/** How many rows of events there are, and their digest. */
interface Content {
  readonly rows: number;
  readonly content?: string;
}

type Contents = Map<number, Content>;

async function eventsOf(store: Store, ids: readonly number[], contents: Contents): Promise<void> {
  if (ids.length === 0) return;
  const rows = await store.db
    .selectFrom('events')
    .selectAll()
    .where('batch', 'in', ids)
    .where('derived', '=', 0)
    .orderBy('batch')
    .orderBy('idx')
    .execute();
  for (const [batch, events] of Map.groupBy(rows, (row) => row.batch))
    contents.set(batch, { rows: events.length, content: digestOf(events) });
}

/** The events of a batch that has more than are read at once. */
async function manyEventsOf(store: Store, id: number): Promise<Content> {
  const hash = createHash('sha256');
  for (let [rows, last] = [0, -1]; ; ) {
    const page = await store.db
      .selectFrom('events')
      .selectAll()
      .where('batch', '=', id)
      .where('derived', '=', 0)
      .where('idx', '>', last)
      .orderBy('idx')
      .limit(MOST_EVENTS)
      .execute();
    for (const row of page) addRow(hash, row);
    rows += page.length;
    if (page.length < MOST_EVENTS) return { rows, content: hash.digest('hex') };
    last = page.at(-1)!.idx;
  }
}

/** What the store holds of the events of a page of batches, `MOST_EVENTS` at a time. */
async function readContents(store: Store, page: readonly Stored[]): Promise<Contents> {
  const contents: Contents = new Map();
  let [ids, events]: [number[], number] = [[], 0];
  for (const row of page) {
    if (row.events > MOST_EVENTS && row.kind !== 'snapshot') {
      contents.set(row.id, await manyEventsOf(store, row.id));
      continue;
    }
    if (events + row.events > MOST_EVENTS) {
      await eventsOf(store, ids, contents);
      [ids, events] = [[], 0];
    }
    ids.push(row.id);
    events += row.events;
  }
  await eventsOf(store, ids, contents);
  const runs = await store.db
    .selectFrom('runs')
    .select('batch')
    .select((eb) => eb.fn.countAll<number>().as('n'))
    .where(
      'batch',
      'in',
      page.map(({ id }) => id),
    )
    .groupBy('batch')
    .execute();
  for (const { batch, n } of runs) contents.set(batch, { rows: Number(n) });
  return contents;
}

async function* pages(store: Store): AsyncGenerator<Stored[]> {
  for (let last = -1; ; ) {
    const rows = await store.db
      .selectFrom('batches')
      .select(['id', 'node', 'agent', 'epoch', 'seq', 'sha256', 'events', 'kind', 'host'])
      .where('id', '>', last)
      .orderBy('id')
      .limit(PAGE)
      .execute();
    if (rows.length === 0) return;
    yield rows;
    last = rows.at(-1)!.id;
  }
}

function about({ node, agent, epoch, seq, host }: Stored, message: string, more: Partial<Finding>): Finding {
  return { kind: 'store', message, node, host, agent, epoch, seq, ...more };
}

const NOTHING = { rows: 0, content: digestOf([]) };

/** What is wrong with one row, given the batches at its place in the archive and what the store holds of its events. */
function checkRow(row: Stored, here: readonly Row[], contents: Contents): Finding | undefined {
  if (here.length === 0)
    return about(row, 'the store has a batch that the archive has not', { received: row.sha256 });
  const same = here.find(({ sha256 }) => sha256 === row.sha256);
  if (!same)
    return about(row, 'the store names another batch than the archive holds', {
      expected: String(here[0]!.sha256),
      received: row.sha256,
    });
  const expected = Number(same.events);
  if (row.events !== expected)
    return about(row, 'the store counts other events than the batch has', {
      expected: `${expected}`,
      received: `${row.events}`,
    });
  if (row.kind === 'snapshot') return undefined;
  const { rows, content } = contents.get(row.id) ?? NOTHING;
  if (rows !== expected)
    return about(row, 'the store does not hold as many events as the batch has', {
      expected: `${expected}`,
      received: `${rows}`,
    });
  if (same.content !== null && content !== same.content)
    return about(row, 'the store holds other events than the batch has', {
      expected: String(same.content),
      received: content ?? '',
    });
  return undefined;
}

/** The newest epoch of each inventory that the store holds. */
async function inventories(store: Store): Promise<StreamKey[]> {
  const newest = new Map<string, StreamKey & { at: string }>();
  const rows = await store.db
    .selectFrom('batches')
    .select(['node', 'agent', 'epoch'])
    .select(sql<string>`min(time)`.as('started'))
    .where('state_digest', 'is not', null)
    .groupBy(['node', 'agent', 'epoch'])
    .execute();
  for (const { node, agent, epoch, started } of rows) {
    const at = `${started} ${epoch}`;
    const known = newest.get(`${node} ${agent}`);
    if (!known || known.at < at) newest.set(`${node} ${agent}`, { node, agent, epoch, at });
  }
  return [...newest.values()];
}

/**
 * Tells where the store differs from the archive that was read. `isLoaded`: whether batches of an agent go into the store at all. What waits in a
 * spool need not be there yet.
 */
export async function checkStore(
  ledger: Ledger,
  store: Store,
  isLoaded: (agent: string) => boolean,
): Promise<void> {
  ledger.db.exec(SCHEMA);
  const find = ledger.db.prepare(FIND);
  const add = ledger.db.prepare('insert or ignore into stored values (?, ?, ?, ?, ?)');
  for await (const page of pages(store)) {
    const contents = await readContents(store, page);
    for (const row of page) {
      const { node, agent, epoch, seq, sha256 } = row;
      add.run(node, agent, epoch, seq, sha256);
      const finding = checkRow(row, find.all(node, agent, epoch, seq) as Row[], contents);
      if (finding) ledger.tell(finding);
    }
  }
  for (const fork of await store.db
    .selectFrom('forks')
    .select(['node', 'agent', 'epoch', 'seq', 'sha256'])
    .execute())
    add.run(fork.node, fork.agent, fork.epoch, fork.seq, fork.sha256);
  for (const row of ledger.db.prepare(NOT_STORED).iterate() as Iterable<Row>) {
    if (!isLoaded(String(row.agent))) continue;
    ledger.tell({
      kind: 'store',
      message: 'the store does not have this batch',
      ...placed(row),
      expected: String(row.sha256),
    });
  }
  for (const { node, agent, epoch } of await inventories(store))
    if ((await digestAgrees(store, node, agent, epoch)) === false)
      ledger.tell({
        kind: 'store',
        message: 'its items are not those that its newest inventory batch counts',
        node,
        agent,
        epoch,
      });
}
