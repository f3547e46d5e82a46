/** Kysely over node:sqlite. */
import { accessSync, closeSync, constants, existsSync, mkdirSync, openSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { type DatabaseConnection, Kysely, SqliteDialect, type SqliteStatement } from 'kysely';
import { DsacError, reasonOf } from '../errors.ts';
import { PAGE_ROWS } from './pages.ts';
import type { Tables } from './tables.ts';
import type { SqliteTarget } from './url.ts';

/** How long a statement waits for another process' transaction. */
const BUSY_MS = 5000;
/** Page cache, at most: loading many nodes touches every index in many places, and SQLite's own 2 MiB are too few for that. */
export const CACHE_KIB = 64 * 1024;
/** Page cache of who only reads, and passes most pages once: SQLite's own. What is sorted takes as much again, and beyond that a temporary file. */
const READER_CACHE_KIB = 2 * 1024;

/** Statements that are kept compiled: loading says the same few dozen again and again. */
const KEPT = 200;

const values = (parameters: readonly unknown[]): SQLInputValue[] => [...parameters] as SQLInputValue[];

/** Compiles statements for Kysely, each text once. */
function preparer(database: DatabaseSync): (sql: string) => SqliteStatement {
  const kept = new Map<string, SqliteStatement>();
  const adapted = (sql: string): SqliteStatement => {
    const statement: StatementSync = database.prepare(sql);
    return {
      reader: statement.columns().length > 0,
      all: (parameters) => statement.all(...values(parameters)),
      run: (parameters) => statement.run(...values(parameters)),
      iterate: (parameters) => statement.iterate(...values(parameters)),
    };
  };
  return (sql) => {
    const statement = kept.get(sql) ?? adapted(sql);
    // Taken out and put back at the end: what goes first is what was not asked for the longest.
    kept.delete(sql);
    kept.set(sql, statement);
    if (kept.size > KEPT) kept.delete(kept.keys().next().value!);
    return statement;
  };
}

/**
 * Takes a transaction back where there still is one. SQLite itself takes back one that met a full or failing disk
 * (https://www.sqlite.org/lang_transaction.html, "Response To Errors Within A Transaction"), and its answer that there is nothing to take back would hide why.
 */
function rollback(database: DatabaseSync): SqliteStatement {
  const run = (): { changes: number; lastInsertRowid: number } => {
    if (database.isTransaction) database.exec('rollback');
    return { changes: 0, lastInsertRowid: 0 };
  };
  return { reader: false, all: () => [], run, iterate: () => [][Symbol.iterator]() };
}

/** Streams rows in pages, where Kysely would step through the event loop with each. The statement is compiled for itself, since its rows are read while others run. */
function streaming(database: DatabaseSync): DatabaseConnection['streamQuery'] {
  return async function* <R>({ sql, parameters }: { sql: string; parameters: readonly unknown[] }) {
    const statement = database.prepare(sql);
    const names = statement.columns().map(({ name }) => name);
    // The objects that node:sqlite makes are dictionaries: larger by far than those made here, and slower to read.
    statement.setReturnArrays(true);
    const answers = statement.iterate(...values(parameters)) as Iterable<unknown>;
    let rows: R[] = [];
    for (const cells of answers as Iterable<readonly unknown[]>) {
      const row: Record<string, unknown> = {};
      for (let at = 0; at < names.length; at++) row[names[at]!] = cells[at];
      rows.push(row as R);
      if (rows.length < PAGE_ROWS) continue;
      yield { rows };
      rows = [];
    }
    if (rows.length > 0) yield { rows };
  };
}

interface Opened {
  readonly database: DatabaseSync;
  close(): void;
}

/** Whether this user may write a file and what SQLite puts beside it. */
function isWritable(path: string): boolean {
  try {
    for (const each of [path, dirname(path)]) accessSync(each, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/**
 * A store that this user may only read: another's, or a copy on read-only media. Where it cannot even be locked it is read as it lies there, and who
 * closes it is told if it was written to meanwhile.
 */
function openReadable({ path, label }: SqliteTarget): Opened {
  const state = (): string => {
    const { mtimeNs, size } = statSync(path, { bigint: true });
    return `${mtimeNs} ${size} ${existsSync(`${path}-wal`)}`;
  };
  const open = (url: string | URL): DatabaseSync => {
    const database = new DatabaseSync(url, { timeout: BUSY_MS, readOnly: true });
    try {
      database.prepare('select count(*) from sqlite_schema').get();
      return database;
    } catch (error) {
      database.close();
      throw error;
    }
  };
  const before = state();
  try {
    const database = open(path);
    return { database, close: () => database.close() };
  } catch (error) {
    if (existsSync(`${path}-wal`)) throw error;
  }
  const database = open(new URL('?immutable=1', pathToFileURL(path)));
  return {
    database,
    close() {
      database.close();
      if (state() !== before)
        throw new DsacError('tempfail', `the store ${label} was written to while it was read`, {
          hint: 'what was read may be wrong: run it again, or as the user that runs dsac process',
        });
    },
  };
}

function openWritable({ path }: SqliteTarget): Opened {
  if (path !== ':memory:') {
    mkdirSync(dirname(path), { recursive: true, mode: 0o750 });
    // It tells what users did: SQLite by itself would let everyone read it. What it puts beside it has the same mode. One that is there is left alone, as
    // closing a file gives up the locks that SQLite has on it elsewhere in this process (https://www.sqlite.org/howtocorrupt.html, 2.2).
    if (!existsSync(path)) closeSync(openSync(path, 'a', 0o640));
  }
  const database = new DatabaseSync(path, { timeout: BUSY_MS });
  // FULL: a batch leaves the spool once load() resolves, so the commit must survive a power cut.
  database.exec('pragma journal_mode = wal; pragma synchronous = full');
  return { database, close: () => database.close() };
}

function openFile(target: SqliteTarget, toRead: boolean): Opened & { readonly readOnly: boolean } {
  const readOnly = toRead && target.path !== ':memory:' && !isWritable(target.path);
  try {
    const opened = readOnly ? openReadable(target) : openWritable(target);
    opened.database.exec(`pragma cache_size = -${toRead ? READER_CACHE_KIB : CACHE_KIB}`);
    return { ...opened, readOnly };
  } catch (error) {
    throw new DsacError('unavailable', `cannot open the store ${target.label}: ${reasonOf(error)}`, {
      cause: error,
    });
  }
}

/** Opens, and creates where there is none, the SQLite file of the store; `toRead`: for one who reads. Throws an `unavailable` error. */
export function openSqlite(target: SqliteTarget, { toRead }: { readonly toRead: boolean }): Kysely<Tables> {
  const { database, close, readOnly } = openFile(target, toRead);
  const compile = preparer(database);
  const prepare = (sql: string): SqliteStatement => {
    const statement = compile(sql);
    if (!readOnly || statement.reader) return statement;
    throw new DsacError('noperm', `this user may only read the store ${target.label}`, {
      hint: 'run it as the user that runs dsac process',
    });
  };
  return new Kysely<Tables>({
    dialect: new SqliteDialect({
      onCreateConnection: async (connection) => {
        connection.streamQuery = streaming(database);
      },
      database: {
        close,
        // Every transaction of the store writes: taking the write lock at once waits for it, where an upgrade later would fail.
        prepare: (sql) =>
          sql === 'rollback' ? rollback(database) : prepare(sql === 'begin' ? 'begin immediate' : sql),
      },
    }),
  });
}
