/** Keeps `ranges`: which numbers of each stream are here, as unbroken runs. What lies between them is missing. */
import { type Kysely, type Selectable, sql } from 'kysely';
import type { DialectName } from './ddl.ts';
import type { Loadable } from './loadable.ts';
import { inPieces, upsertRows } from './rows.ts';
import { keyOfStream } from './streams.ts';
import type { Tables } from './tables.ts';
import { notAfter } from './times.ts';

type Range = Selectable<Tables['ranges']>;

/** Ranges that do not overlap, joined where one begins right behind another; in order. */
function joined(ranges: readonly Range[]): Range[] {
  const result: Range[] = [];
  for (const range of ranges.toSorted((a, b) => a.first_seq - b.first_seq)) {
    const before = result.at(-1);
    if (before && before.last_seq + 1 === range.first_seq)
      result[result.length - 1] = { ...before, last_seq: range.last_seq, last_time: range.last_time };
    else result.push(range);
  }
  return result;
}

/** New batches as ranges of one stream each. A time that the clock had not reached counts as `now`. */
function rangesOf(fresh: readonly Loadable[], now: string): Range[] {
  const single = fresh.map(({ header: { node, agent, epoch, seq, time } }): Range => {
    const stored = notAfter(now, time);
    return { node, agent, epoch, first_seq: seq, last_seq: seq, first_time: stored, last_time: stored };
  });
  return [...Map.groupBy(single, keyOfStream).values()].flatMap(joined);
}

/** The ranges in the store that begin right behind one of these. */
async function nextOf(db: Kysely<Tables>, ranges: readonly Range[]): Promise<Range[]> {
  return db
    .selectFrom('ranges')
    .selectAll()
    .where((eb) =>
      eb.or(
        ranges.map(({ node, agent, epoch, last_seq }) =>
          eb.and({ node, agent, epoch, first_seq: last_seq + 1 }),
        ),
      ),
    )
    .execute();
}

/**
 * The ranges in the store that end right before one of these: the nearest below each, along the primary key. Asked for by its end, SQLite would read
 * all ranges of the stream, and there are as many as batches where a long backlog comes in no order.
 */
async function previousOf(db: Kysely<Tables>, ranges: readonly Range[]): Promise<Range[]> {
  const nearest = ranges.map(
    ({ node, agent, epoch, first_seq }) => sql`
      select * from (
        select node, agent, epoch, first_seq, last_seq, first_time, last_time from ranges
        where node = ${node} and agent = ${agent} and epoch = ${epoch} and first_seq < ${first_seq}
        order by first_seq desc limit 1
      ) as p`,
  );
  const { rows } = await sql<Range>`${sql.join(nearest, sql` union all `)}`.execute(db);
  const ends = new Set(ranges.map((range) => `${keyOfStream(range)} ${range.first_seq - 1}`));
  return rows.filter((range) => ends.has(`${keyOfStream(range)} ${range.last_seq}`));
}

/** The ranges in the store that end right before one of these or begin right behind it. */
async function neighboursOf(db: Kysely<Tables>, ranges: readonly Range[]): Promise<Range[]> {
  const found = new Map<string, Range>();
  for (const piece of inPieces(db, ranges)) {
    for (const row of [...(await previousOf(db, piece)), ...(await nextOf(db, piece))])
      found.set(`${keyOfStream(row)} ${row.first_seq}`, row);
  }
  return [...found.values()];
}

/** One by one: InnoDB then locks these rows and no others, where a longer condition may make it scan, and wait for other loaders' rows. */
async function remove(db: Kysely<Tables>, ranges: readonly Range[]): Promise<void> {
  for (const { node, agent, epoch, first_seq } of ranges) {
    await db
      .deleteFrom('ranges')
      .where((eb) => eb.and({ node, agent, epoch, first_seq }))
      .execute();
  }
}

/** Adds the numbers of batches that were not here before. `now`: as stored. */
export async function loadRanges(
  db: Kysely<Tables>,
  dialect: DialectName,
  fresh: readonly Loadable[],
  now: string,
): Promise<void> {
  const added = rangesOf(fresh, now);
  const known = await neighboursOf(db, added);
  const streams = Map.groupBy([...known, ...added], keyOfStream);
  const merged = [...streams.values()].flatMap(joined);
  const starts = new Set(merged.map((range) => `${keyOfStream(range)} ${range.first_seq}`));
  await remove(
    db,
    known.filter((range) => !starts.has(`${keyOfStream(range)} ${range.first_seq}`)),
  );
  await upsertRows(db, dialect, 'ranges', merged, {
    keys: ['node', 'agent', 'epoch', 'first_seq'],
    update: ['last_seq', 'first_time', 'last_time'],
  });
}
