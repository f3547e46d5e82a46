/** Brings the database to the schema that this program knows, whoever else is starting at the same moment. */
import { CompiledQuery, type Kysely, sql } from 'kysely';
import { DsacError } from '../errors.ts';
import { createTable, type DialectName, type TableSpec } from './ddl.ts';
import { tables as first } from './migrations/0001_first.ts';
import { tables as completeness, fill } from './migrations/0002_completeness.ts';
import { fill as dropCopies } from './migrations/0003_known_keys.ts';
import { retried } from './retry.ts';
import type { Tables } from './tables.ts';
import { storedDate } from './times.ts';

interface Migration {
  readonly version: number;
  readonly name: string;
  readonly tables: readonly TableSpec[];
  /** Fills the new tables from the old ones, or changes those; may be run again where an earlier attempt stopped half-way. */
  readonly fill?: (db: Kysely<Tables>) => Promise<void>;
}

/** In order; a published one is never edited. */
const MIGRATIONS: readonly Migration[] = [
  { version: 1, name: 'first', tables: first },
  { version: 2, name: 'completeness', tables: completeness, fill },
  { version: 3, name: 'known-keys', tables: [], fill: dropCopies },
];

/** The newest schema that this program knows. */
export const SCHEMA_VERSION: number = MIGRATIONS.at(-1)!.version;

const LOCK_SECONDS = 60;

const LEDGER: TableSpec = {
  name: 'migrations',
  columns: { version: 'integer', name: 'name', applied: 'time' },
  primary: ['version'],
};

/** A binary collation that does not pad, by the name that this server has for it. */
async function binaryCollation(db: Kysely<Tables>, dialect: DialectName): Promise<string> {
  if (dialect === 'sqlite') return '';
  const found = await sql<{ name: string }>`
    select collation_name as name from information_schema.collations
    where collation_name in ('utf8mb4_nopad_bin', 'utf8mb4_0900_bin')`.execute(db);
  return found.rows[0]?.name ?? 'utf8mb4_bin';
}

async function run(db: Kysely<Tables>, statements: readonly string[]): Promise<void> {
  for (const statement of statements) await db.executeQuery(CompiledQuery.raw(statement));
}

/** The schema's version, 0 for an empty database. */
async function currentVersion(db: Kysely<Tables>): Promise<number> {
  const { rows } = await sql<{
    version: number | null;
  }>`select max(version) as version from migrations`.execute(db);
  return rows[0]?.version ?? 0;
}

async function apply(db: Kysely<Tables>, dialect: DialectName, label: string): Promise<void> {
  const collation = await binaryCollation(db, dialect);
  await run(db, createTable(dialect, collation, LEDGER));
  const version = await currentVersion(db);
  refuseNewer(version, label);
  for (const migration of MIGRATIONS.filter((one) => one.version > version)) {
    for (const table of migration.tables) await run(db, createTable(dialect, collation, table));
    await migration.fill?.(db);
    const row = { version: migration.version, name: migration.name, applied: storedDate(new Date()) };
    await db.insertInto('migrations').values(row).execute();
  }
}

function refuseNewer(version: number, label: string): void {
  if (version <= SCHEMA_VERSION) return;
  throw new DsacError(
    'config',
    `the store ${label} has schema version ${version}, this dsac knows up to ${SCHEMA_VERSION}`,
    {
      hint: 'a newer dsac has migrated it: upgrade this one',
    },
  );
}

/** Names of the tables that there are. */
async function tablesOf(db: Kysely<Tables>, dialect: DialectName): Promise<Set<string>> {
  const found = await (dialect === 'sqlite'
    ? sql<{ name: string }>`select name from sqlite_master where type = 'table'`
    : sql<{
        name: string;
      }>`select table_name as name from information_schema.tables where table_schema = database()`
  ).execute(db);
  return new Set(found.rows.map(({ name }) => name));
}

/**
 * Makes sure that there is a store to read: throws an `unavailable` error, and changes nothing, where the database is empty, or lacks
 * tables that it should have.
 */
export async function requireStore(db: Kysely<Tables>, dialect: DialectName, label: string): Promise<void> {
  const there = await tablesOf(db, dialect);
  const version = there.has(LEDGER.name) ? await currentVersion(db) : 0;
  if (version === 0) throw emptyStore(label);
  const due = MIGRATIONS.filter((one) => one.version <= version).flatMap(({ tables }) => tables);
  const lacking = due.filter(({ name }) => !there.has(name)).map(({ name }) => name);
  if (lacking.length === 0) return;
  throw new DsacError('unavailable', `the store ${label} is damaged: it lacks ${lacking.join(', ')}`, {
    hint: 'restore it, or move it away and load the archive again',
  });
}

/** There is a place for a store, and nothing in it. */
export function emptyStore(label: string): DsacError {
  return new DsacError('unavailable', `there is no store at ${label} yet: nothing has been loaded`, {
    hint: 'run dsac agent, dsac dispatch and dsac process, or correct store.url',
  });
}

async function isUpToDate(db: Kysely<Tables>, label: string): Promise<boolean> {
  try {
    const version = await currentVersion(db);
    refuseNewer(version, label);
    return version === SCHEMA_VERSION;
  } catch (error) {
    if (error instanceof DsacError) throw error;
    return false;
  }
}

/** MySQL commits each DDL statement by itself, so only a lock held by the connection keeps two programs from mixing theirs. */
async function underLock(db: Kysely<Tables>, work: (db: Kysely<Tables>) => Promise<void>): Promise<void> {
  await db.connection().execute(async (connection) => {
    const name = sql`concat('dsac:', sha1(database()))`;
    const taken = await sql<{ got: number | null }>`select get_lock(${name}, ${LOCK_SECONDS}) as got`.execute(
      connection,
    );
    if (taken.rows[0]?.got !== 1) {
      throw new DsacError(
        'unavailable',
        `another process has been migrating the store for ${LOCK_SECONDS} s`,
      );
    }
    try {
      await work(connection);
    } finally {
      await sql`select release_lock(${name})`.execute(connection);
    }
  });
}

/** Applies the migrations that are missing. Throws a `config` error when the schema is newer than this program. */
export async function migrate(db: Kysely<Tables>, dialect: DialectName, label: string): Promise<void> {
  if (await isUpToDate(db, label)) return;
  if (dialect === 'mysql') await underLock(db, (connection) => apply(connection, dialect, label));
  else
    await retried(label, () => db.transaction().execute((transaction) => apply(transaction, dialect, label)));
}
