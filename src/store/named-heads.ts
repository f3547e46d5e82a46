/**
 * Holds what receipts say of streams against the batches. A receipt names the number and digest of its agent's newest batch: another batch under
 * that number is a fork. `named_heads` keeps the names of batches that have not come, so that it does not matter which comes first.
 */
import type { Kysely, Selectable } from 'kysely';
import type { StreamKey } from '../spool/batch.ts';
import type { DialectName } from './ddl.ts';
import { type Fork, keyOf } from './forks.ts';
import type { Loadable } from './loadable.ts';
import { inPieces, upsertRows } from './rows.ts';
import type { Streams } from './streams.ts';
import type { Tables } from './tables.ts';
import { notAfter } from './times.ts';

type NamedHead = Selectable<Tables['named_heads']>;
type Place = StreamKey & { readonly seq: number };

function forkOf({ node, agent, epoch, seq, sha256, time }: NamedHead, now: string): Fork {
  return { node, agent, epoch, seq, sha256, reason: 'named', uuid: null, time, loaded: now };
}

/** The heads that new receipts name, each once, with the earliest time. */
function namedBy(fresh: readonly Loadable[], now: string): NamedHead[] {
  const heads = new Map<string, NamedHead>();
  for (const { header, receipts } of fresh) {
    for (const { agent, stream, time } of receipts) {
      if (!stream || stream.seq === 0) continue;
      const { epoch, seq, sha256 } = stream;
      const head = { node: header.node, agent, epoch, seq, sha256, time: notAfter(now, time) };
      const known = heads.get(`${keyOf(head)} ${sha256}`);
      if (!known || head.time < known.time) heads.set(`${keyOf(head)} ${sha256}`, head);
    }
  }
  return [...heads.values()];
}

/** The rows of a table at these places, some hundred to a question. */
async function rowsAt<T>(
  db: Kysely<Tables>,
  places: readonly Place[],
  ask: (piece: readonly Place[]) => Promise<T[]>,
): Promise<T[]> {
  const rows: T[] = [];
  for (const piece of inPieces(db, places)) rows.push(...(await ask(piece)));
  return rows;
}

async function digestsAt(db: Kysely<Tables>, places: readonly Place[]): Promise<Map<string, string>> {
  const rows = await rowsAt(db, places, (piece) =>
    db
      .selectFrom('batches')
      .select(['node', 'agent', 'epoch', 'seq', 'sha256'])
      .where((eb) => eb.or(piece.map((place) => eb.and(pick(place)))))
      .execute(),
  );
  return new Map(rows.map((row) => [keyOf(row), row.sha256]));
}

function pick({ node, agent, epoch, seq }: Place): Place {
  return { node, agent, epoch, seq };
}

async function namedAt(db: Kysely<Tables>, places: readonly Place[]): Promise<NamedHead[]> {
  return rowsAt(db, places, (piece) =>
    db
      .selectFrom('named_heads')
      .selectAll()
      .where((eb) => eb.or(piece.map((place) => eb.and(pick(place)))))
      .execute(),
  );
}

/** Batches have come that receipts named before: their names are settled. Answers those that name another batch. */
async function settle(
  db: Kysely<Tables>,
  fresh: readonly Loadable[],
  streams: Streams,
  now: string,
): Promise<Fork[]> {
  const awaited = fresh.filter(({ header }) => (streams.get(header)?.named_seq ?? 0) >= header.seq);
  const named = await namedAt(
    db,
    awaited.map(({ header }) => header),
  );
  // One by one: InnoDB then locks these rows and no others.
  for (const head of named) {
    await db
      .deleteFrom('named_heads')
      .where((eb) => eb.and(pick(head)))
      .execute();
  }
  const digests = new Map(fresh.map(({ header, sha256 }) => [keyOf(header), sha256]));
  return named.filter((head) => digests.get(keyOf(head)) !== head.sha256).map((head) => forkOf(head, now));
}

/** Keeps the names of batches that are not here yet. */
async function expect(
  db: Kysely<Tables>,
  dialect: DialectName,
  missing: readonly NamedHead[],
): Promise<void> {
  if (missing.length === 0) return;
  const known = new Map(
    (await namedAt(db, missing)).map((head) => [`${keyOf(head)} ${head.sha256}`, head.time]),
  );
  const rows = missing.map((head) => {
    const before = known.get(`${keyOf(head)} ${head.sha256}`);
    return before !== undefined && before < head.time ? { ...head, time: before } : head;
  });
  await upsertRows(db, dialect, 'named_heads', rows, {
    keys: ['node', 'agent', 'epoch', 'seq', 'sha256'],
    update: ['time'],
  });
}

/**
 * Loads the heads that new receipts name, and settles those that new batches are. Answers the forks that this shows. `streams`: with the new
 * batches in it. `now`: as stored.
 */
export async function loadNamedHeads(
  db: Kysely<Tables>,
  dialect: DialectName,
  fresh: readonly Loadable[],
  streams: Streams,
  now: string,
): Promise<Fork[]> {
  const forks = await settle(db, fresh, streams, now);
  const named = namedBy(fresh, now);
  // The newest batch's digest is at hand; only what is named late, behind it, must be looked up.
  const isNewest = (head: NamedHead): boolean => streams.get(head)?.last_seq === head.seq;
  const past = named.filter((head) => head.seq < (streams.get(head)?.last_seq ?? 0));
  const digests = await digestsAt(db, past);
  const missing: NamedHead[] = [];
  for (const head of named) {
    const here = isNewest(head) ? streams.get(head)!.last_sha256 : digests.get(keyOf(head));
    if (here == null) missing.push(head);
    else if (here !== head.sha256) forks.push(forkOf(head, now));
  }
  await expect(db, dialect, missing);
  return forks;
}
