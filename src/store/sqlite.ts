/** Kysely over node:sqlite. */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
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

function openFile(target: SqliteTarget, cacheKib: number): DatabaseSync {
  try {
    if (target.path !== ':memory:') mkdirSync(dirname(target.path), { recursive: true, mode: 0o750 });
    const database = new DatabaseSync(target.path, { timeout: BUSY_MS });
    // FULL: a batch leaves the spool once load() resolves, so the commit must survive a power cut.
    database.exec('pragma journal_mode = wal; pragma synchronous = full');
    database.exec(`pragma cache_size = -${cacheKib}`);
    return database;
  } catch (error) {
    throw new DsacError('unavailable', `cannot open the store ${target.label}: ${reasonOf(error)}`, {
      cause: error,
    });
  }
}

/** Opens, and creates where there is none, the SQLite file of the store; `toRead`: for one who reads. Throws an `unavailable` error. */
export function openSqlite(target: SqliteTarget, { toRead }: { readonly toRead: boolean }): Kysely<Tables> {
  const database = openFile(target, toRead ? READER_CACHE_KIB : CACHE_KIB);
  const prepare = preparer(database);
  return new Kysely<Tables>({
    dialect: new SqliteDialect({
      onCreateConnection: async (connection) => {
        connection.streamQuery = streaming(database);
      },
      database: {
        close: () => database.close(),
        // Every transaction of the store writes: taking the write lock at once waits for it, where an upgrade later would fail.
        prepare: (sql) => prepare(sql === 'begin' ? 'begin immediate' : sql),
      },
    }),
  });
}
