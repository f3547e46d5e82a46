/** Loads whole batches in one transaction: all of them or none, each at most once, whatever order they come in. */
import { type Insertable, type Kysely, sql } from 'kysely';
import { type BatchEvent, SALVAGE } from '../spool/batch.ts';
import { canonical } from '../spool/canonical.ts';
import { loadAhead } from './ahead.ts';
import type { DialectName } from './ddl.ts';
import { beside, brokenChains, type Fork, findKnown, insertForks, keyOf, sortOut } from './forks.ts';
import { type FreshBatch, loadItems } from './items.ts';
import type { Loadable } from './loadable.ts';
import { loadLosses } from './losses.ts';
import { loadNamedHeads } from './named-heads.ts';
import { loadRanges } from './ranges.ts';
import { loadReceipts } from './receipts.ts';
import { registerContacts } from './register.ts';
import { inPieces, insertMany, insertRows, upsertRows } from './rows.ts';
import { Streams } from './streams.ts';
import type { Tables } from './tables.ts';
import { notAfter, storedDate, toStored } from './times.ts';
import { Told } from './told.ts';
import { wellFormed } from './wellformed.ts';

/** Whether a batch is part of its node's account. A salvage is not: it has no place in a stream, makes no node known, complete or silent. */
function tellsOfItsNode({ header }: Loadable): boolean {
  return header.agent !== SALVAGE;
}

/** Serialises the loaders of a node: each must see the streams as the one before left them. SQLite's transactions do so anyway. */
async function lockNodes(
  db: Kysely<Tables>,
  dialect: DialectName,
  batches: readonly Loadable[],
  now: string,
): Promise<string[]> {
  const first = new Map(batches.map(({ header }) => [header.node, header]));
  const nodes = [...first.keys()].sort();
  const rows = nodes.map((node) => {
    const { host, time } = first.get(node)!;
    const seen = notAfter(now, time);
    return {
      node,
      host: wellFormed(host),
      machine: null,
      public_key: null,
      first_seen: seen,
      last_seen: seen,
    };
  });
  await upsertRows(db, dialect, 'nodes', rows, { keys: ['node'], update: [] });
  if (dialect === 'mysql') {
    for (const piece of inPieces(db, nodes)) {
      await sql`select node from nodes where node in (${sql.join(piece)}) order by node for update`.execute(
        db,
      );
    }
  }
  const reporting = new Set(batches.filter(tellsOfItsNode).map(({ header }) => header.node));
  await registerContacts(
    db,
    dialect,
    nodes.filter((node) => reporting.has(node)),
    now,
  );
  return nodes;
}

/** Gives each batch its row, and answers the rows' ids. */
async function insertBatches(
  db: Kysely<Tables>,
  batches: readonly Loadable[],
  now: string,
): Promise<FreshBatch[]> {
  await insertRows(
    db,
    'batches',
    batches.map(({ header, sha256, count }) => ({
      ...beside(header, 0),
      uuid: header.id,
      kind: header.kind,
      host: wellFormed(header.host),
      boot: header.boot === undefined ? null : wellFormed(header.boot),
      time: toStored(header.time),
      since: header.since === undefined ? null : toStored(header.since),
      loaded: now,
      prev: header.prev,
      sha256,
      events: count,
      state_items: header.state?.items ?? null,
      state_digest: header.state?.digest ?? null,
    })),
  );
  const ids = new Map<string, number>();
  for (const piece of inPieces(db, batches)) {
    const rows = await db
      .selectFrom('batches')
      .select(['id', 'node', 'agent', 'epoch', 'seq'])
      .where((eb) =>
        eb.or(
          piece.map(({ header: { node, agent, epoch, seq } }) =>
            eb.and([
              eb('node', '=', node),
              eb('agent', '=', agent),
              eb('epoch', '=', epoch),
              eb('seq', '=', seq),
            ]),
          ),
        ),
      )
      .execute();
    for (const row of rows) ids.set(keyOf(row), row.id);
  }
  return batches.map((batch) => ({ id: ids.get(keyOf(batch.header))!, batch }));
}

function json(value: object | undefined): string | null {
  return value === undefined ? null : canonical(value);
}

/** The row of one event of a batch of kind `changes` or `log`. */
export function eventRow(
  { id, batch: { header } }: Pick<FreshBatch, 'id'> & { readonly batch: Pick<Loadable, 'header'> },
  event: BatchEvent,
  idx: number,
): Insertable<Tables['events']> {
  const inventory = header.kind === 'changes';
  // An inventory that was only looked at now knows no more than that it happened since it was looked at before.
  const inexact = inventory && event.time === header.time && header.since !== undefined;
  return {
    batch: id,
    idx,
    node: header.node,
    agent: header.agent,
    time: toStored(event.time),
    since: inexact ? toStored(header.since!) : null,
    collected: toStored(header.time),
    action: event.action,
    item: event.item === undefined ? null : wellFormed(event.item),
    source: event.source ?? null,
    derived: 0,
    before_json: json(event.before),
    after_json: json(event.after),
    by_json: json(event.by),
    data_json: json(event.data),
  };
}

/** Whether a batch's events have rows of their own. A snapshot's are in `items`, a receipt's in `runs`. */
function isTold({ batch: { header } }: FreshBatch): boolean {
  return header.kind === 'changes' || header.kind === 'log';
}

function* eventRows(fresh: readonly FreshBatch[], told: Told): Generator<Insertable<Tables['events']>> {
  for (const one of fresh) {
    let idx = 0;
    for (const event of told.through(one)) if (isTold(one)) yield eventRow(one, event, idx++);
  }
}

/** What newest batches say of their nodes. `now` bounds the times of a clock that is ahead: its words must not stay the newest for ever. */
async function updateNodes(
  db: Kysely<Tables>,
  dialect: DialectName,
  fresh: readonly FreshBatch[],
  now: string,
): Promise<void> {
  const headers = fresh.map(({ batch }) => batch.header);
  const byNode = Map.groupBy(headers, ({ node }) => node);
  const rows: Insertable<Tables['nodes']>[] = [];
  for (const nodes of inPieces(db, [...byNode.keys()])) {
    const known = await db.selectFrom('nodes').selectAll().where('node', 'in', nodes).execute();
    for (const row of known) {
      for (const header of byNode.get(row.node) ?? []) {
        const time = notAfter(now, header.time);
        if (time < row.first_seen) row.first_seen = time;
        if (time < row.last_seen) continue;
        row.last_seen = time;
        row.host = wellFormed(header.host);
        row.machine = header.machine ?? row.machine;
        row.public_key = header.key ?? row.public_key;
      }
      rows.push(row);
    }
  }
  await upsertRows(db, dialect, 'nodes', rows, {
    keys: ['node'],
    update: ['host', 'machine', 'public_key', 'first_seen', 'last_seen'],
  });
}

async function loadInventories(
  db: Kysely<Tables>,
  fresh: readonly FreshBatch[],
  streams: Streams,
): Promise<void> {
  const inventories = fresh.filter(
    ({ batch }) => batch.header.kind === 'snapshot' || batch.header.kind === 'changes',
  );
  const owners = Map.groupBy(inventories, ({ batch: { header } }) => `${header.node} ${header.agent}`);
  for (const batches of owners.values()) {
    const { node, agent } = batches[0]!.batch.header;
    await loadItems(db, { node, agent }, batches, streams.of(node, agent));
  }
}

/** What completeness is read from: where each stream stands, what is missing of it, and what throws doubt on it. */
async function keepAccount(
  db: Kysely<Tables>,
  dialect: DialectName,
  fresh: readonly FreshBatch[],
  streams: Streams,
  told: Told,
  now: string,
): Promise<void> {
  const batches = fresh.map(({ batch }) => batch);
  for (const batch of batches) streams.add(batch);
  await loadRanges(db, dialect, batches, now);
  await insertForks(db, dialect, await loadNamedHeads(db, dialect, batches, streams, now));
  for (const { header, receipts } of batches) streams.name(header.node, receipts, now);
  await streams.write(db, dialect);
  await loadLosses(db, told, fresh, now);
  await loadAhead(db, dialect, fresh, told, now);
}

/** Loads batches within the caller's transaction. */
export async function loadAll(
  db: Kysely<Tables>,
  dialect: DialectName,
  batches: readonly Loadable[],
): Promise<void> {
  const now = storedDate(new Date());
  const nodes = await lockNodes(db, dialect, batches, now);
  const known = await findKnown(
    db,
    batches.map(({ header }) => header),
  );
  const forks: Fork[] = [];
  const unseen = sortOut(batches, known, forks, now);
  forks.push(...brokenChains(unseen, known, now));
  await insertForks(db, dialect, forks);
  if (unseen.length === 0) return;
  const fresh = await insertBatches(db, unseen, now);
  const streams = await Streams.read(db, nodes);
  const told = new Told();
  const events = fresh.filter(isTold).reduce((sum, { batch }) => sum + batch.count, 0);
  await insertMany(db, 'events', () => eventRows(fresh, told), events);
  await loadInventories(db, fresh, streams);
  await loadReceipts(db, dialect, fresh, now);
  const account = fresh.filter(({ batch }) => tellsOfItsNode(batch));
  await keepAccount(db, dialect, account, streams, told, now);
  await updateNodes(db, dialect, account, now);
}
