/** Writes many rows with few statements, the same on both databases. */
import { setImmediate } from 'node:timers/promises';
import { CompiledQuery, type Insertable, type Kysely, SqliteAdapter } from 'kysely';
import type { DialectName } from './ddl.ts';
import type { Tables } from './tables.ts';

/** SQLite takes at most 32,766 parameters in a statement, and each costs it time to prepare. */
const MAX_ROWS = 512;
/** Well below MySQL's smallest usual max_allowed_packet (4 MiB), escapes included; a single longer row goes alone. */
const MAX_CHARACTERS = 1024 * 1024;
/** Most keys in one IN list or OR chain; SQLite allows expressions 1,000 deep. */
const MAX_KEYS = 200;

type Row = Readonly<Record<string, unknown>>;

function size(row: Row): number {
  let total = 0;
  for (const value of Object.values(row)) total += typeof value === 'string' ? value.length : 8;
  return total;
}

function* chunks(rows: Iterable<Row>): Generator<Row[]> {
  let chunk: Row[] = [];
  let characters = 0;
  for (const row of rows) {
    const add = size(row);
    if (chunk.length > 0 && (chunk.length === MAX_ROWS || characters + add > MAX_CHARACTERS)) {
      yield chunk;
      chunk = [];
      characters = 0;
    }
    chunk.push(row);
    characters += add;
  }
  if (chunk.length > 0) yield chunk;
}

function isSqlite(db: Kysely<Tables>): boolean {
  return db.getExecutor().adapter instanceof SqliteAdapter;
}

/**
 * How much of what is left goes into one statement. SQLite, which keeps statements compiled (sqlite.ts), is asked in powers of two: a statement for every number there is
 * would take memory by tens of megabytes, and be compiled anew nearly each time. A server has each statement's way there and back in their stead.
 */
function atOnce(db: Kysely<Tables>, left: number, most: number): number {
  const count = Math.min(left, most);
  return isSqlite(db) ? 2 ** Math.floor(Math.log2(count)) : count;
}

function* cut<T>(db: Kysely<Tables>, all: readonly T[], most: number): Generator<T[]> {
  for (let at = 0; at < all.length; ) {
    const count = atOnce(db, all.length - at, most);
    yield all.slice(at, at + count);
    at += count;
  }
}

/** Pieces of a list of keys, short enough for one IN list. */
export function inPieces<T>(db: Kysely<Tables>, keys: readonly T[]): Generator<T[]> {
  return cut(db, keys, MAX_KEYS);
}

/**
 * SQLite keeps a copy of each page that a statement of many rows touches, to take back that statement alone should a row fail; who only ever takes back
 * the whole transaction can do without (https://www.sqlite.org/lang_conflict.html, FAIL).
 */
function verb(db: Kysely<Tables>): string {
  return isSqlite(db) ? 'insert or fail' : 'insert';
}

/** A statement that inserts rows. Where one of them fails, those before it may stay until the transaction is rolled back. */
function insertion(db: Kysely<Tables>, table: string, rows: readonly Row[], onClash: string): CompiledQuery {
  const columns = Object.keys(rows[0]!);
  const marks = `(${columns.map(() => '?').join(', ')})`;
  const names = columns.map((column) => `\`${column}\``).join(', ');
  const text = `${verb(db)} into \`${table}\` (${names}) values ${rows.map(() => marks).join(', ')}${onClash}`;
  return CompiledQuery.raw(
    text,
    rows.flatMap((row) => columns.map((column) => row[column] ?? null)),
  );
}

/**
 * Makes one statement while the database is at work on the one before. It is sent only when that one has succeeded: a server that
 * gives up a transaction (a deadlock) would commit what follows by itself.
 */
async function insert(
  db: Kysely<Tables>,
  table: string,
  rows: Iterable<Row>,
  onClash: string,
): Promise<void> {
  let before: Promise<unknown> | undefined;
  for (const chunk of chunks(rows)) {
    for (const piece of cut(db, chunk, MAX_ROWS)) {
      const statement = insertion(db, table, piece, onClash);
      await before;
      before = db.executeQuery(statement);
      // What it rejects with is thrown when it is waited for.
      before.catch(() => {});
    }
    await setImmediate();
  }
  await before;
}

/** Inserts rows that all have the same columns, within the caller's transaction; they are asked for as they are needed. */
export async function insertRows<T extends keyof Tables>(
  db: Kysely<Tables>,
  table: T,
  rows: Iterable<Insertable<Tables[T]>>,
): Promise<void> {
  await insert(db, table, rows as Iterable<Row>, '');
}

/** Inserts what may be very many rows, all with the same columns. `rows` is asked for them once more where the fastest way is not open. */
export async function insertMany<T extends keyof Tables>(
  db: Kysely<Tables>,
  table: T,
  rows: () => Iterable<Insertable<Tables[T]>>,
  count: number,
): Promise<void> {
  if (!isSqlite(db) && count > MAX_ROWS) {
    const { loadRows } = await import('./load-data.ts');
    if (await loadRows(db, table, rows as () => Iterable<Row>)) return;
  }
  await insertRows(db, table, rows());
}

/** Inserts rows, more than one only within a transaction; where one with the same `keys` is there, sets its `update` columns (none: leaves it as it is). */
export async function upsertRows<T extends keyof Tables>(
  db: Kysely<Tables>,
  dialect: DialectName,
  table: T,
  rows: readonly Insertable<Tables[T]>[],
  clash: {
    readonly keys: readonly (keyof Tables[T] & string)[];
    readonly update: readonly (keyof Tables[T] & string)[];
  },
): Promise<void> {
  const columns = clash.update.length > 0 ? clash.update : clash.keys.slice(0, 1);
  const set = (value: (column: string) => string): string =>
    columns.map((column) => `\`${column}\` = ${value(column)}`).join(', ');
  const keys = clash.keys.map((key) => `\`${key}\``).join(', ');
  const onClash =
    dialect === 'sqlite'
      ? ` on conflict (${keys}) do update set ${set((column) => `excluded.\`${column}\``)}`
      : ` on duplicate key update ${set((column) => `values(\`${column}\`)`)}`;
  await insert(db, table, rows as readonly Row[], onClash);
}
