/** Keeps `ranges`: which numbers of each stream are here, as unbroken runs. What lies between them is missing. */
import type { Kysely, Selectable } from 'kysely';
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

/** The ranges in the store that end right before one of these or begin right behind it. */
async function neighboursOf(db: Kysely<Tables>, ranges: readonly Range[]): Promise<Range[]> {
  const found = new Map<string, Range>();
  for (const piece of inPieces(ranges)) {
    const rows = await db
      .selectFrom('ranges')
      .selectAll()
      .where((eb) =>
        eb.or(
          piece.flatMap(({ node, agent, epoch, first_seq, last_seq }) => {
            const stream = [eb('node', '=', node), eb('agent', '=', agent), eb('epoch', '=', epoch)];
            return [
              eb.and([...stream, eb('last_seq', '=', first_seq - 1)]),
              eb.and([...stream, eb('first_seq', '=', last_seq + 1)]),
            ];
          }),
        ),
      )
      .execute();
    for (const row of rows) found.set(`${keyOfStream(row)} ${row.first_seq}`, row);
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
