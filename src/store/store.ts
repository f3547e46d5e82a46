/**
 * The queryable database of the centre: SQLite or MySQL/MariaDB, one schema (docs/store.md), one set of queries. It owns what it derives from
 * batches; the batches themselves, byte by byte, are the archive's.
 */
import { existsSync } from 'node:fs';
import type { Kysely } from 'kysely';
import { DsacError, errorCode, reasonOf } from '../errors.ts';
import type { Batch } from '../spool/batch.ts';
import type { DialectName } from './ddl.ts';
import { loadAll } from './load.ts';
import { type Loadable, loadable } from './loadable.ts';
import { emptyStore, migrate, requireStore, SCHEMA_VERSION } from './migrate.ts';
import { retried } from './retry.ts';
import type { Tables } from './tables.ts';
import { DEFAULT_STORE_URL, parseStoreUrl, type StoreTarget } from './url.ts';

export interface StoreOptions {
  /** Relative SQLite paths hang below it. */
  readonly home: string;
  /** The password for MySQL, when the URL has none. */
  readonly password?: string | undefined;
  /** To read only: where there is no store yet, none is made. */
  readonly existing?: boolean;
}

/** An open store. */
export class Store {
  readonly db: Kysely<Tables>;
  readonly dialect: DialectName;
  /** Where it is, for messages; never holds a password. */
  readonly label: string;

  constructor(db: Kysely<Tables>, dialect: DialectName, label: string) {
    this.db = db;
    this.dialect = dialect;
    this.label = label;
  }

  /**
   * Loads batches in one transaction: all of them, or none when it throws. A batch that is there already changes nothing; another batch
   * under the same key becomes a fork. Throws a `data` error that names the batch when an event is malformed, and an `unavailable` one
   * when the database stays out of reach or locked.
   */
  async load(batches: readonly Batch[]): Promise<void> {
    if (batches.length === 0) return;
    const loadables: Loadable[] = batches.map(loadable);
    await retried(this.label, () =>
      this.db.transaction().execute((transaction) => loadAll(transaction, this.dialect, loadables)),
    );
  }

  async close(): Promise<void> {
    await this.db.destroy();
  }
}

/** What MySQL and MariaDB answer to a user who may not create or fill tables. */
const NOT_ALLOWED = new Set(['ER_TABLEACCESS_DENIED_ERROR', 'ER_DBACCESS_DENIED_ERROR']);

function notAllowed(label: string, error: unknown): DsacError {
  return new DsacError(
    'noperm',
    `the store ${label} must be brought to schema version ${SCHEMA_VERSION}, and this user may not: ${reasonOf(error)}`,
    { cause: error, hint: 'run dsac process once, as the user who loads' },
  );
}

async function connect(
  target: StoreTarget,
  { password, existing = false }: StoreOptions,
): Promise<Kysely<Tables>> {
  if (target.dialect === 'sqlite')
    return (await import('./sqlite.ts')).openSqlite(target, { toRead: existing });
  const { openMysql } = await import('./mysql.ts');
  return openMysql({ ...target, password: target.password ?? password });
}

/**
 * Opens the store at `url` (default `sqlite:var/lib/dsac/store.db`), creating and migrating its schema. Throws a `config` error for a wrong URL or
 * a schema newer than this program, an `unavailable` one when the database cannot be reached, or when there must be
 * a store and is none, a `noperm` one when the user may not bring it to this version.
 */
export async function openStore(url: string | undefined, options: StoreOptions): Promise<Store> {
  const target = parseStoreUrl(url ?? DEFAULT_STORE_URL, options.home);
  if (options.existing && target.dialect === 'sqlite' && !existsSync(target.path))
    throw emptyStore(target.label);
  const db = await connect(target, options);
  try {
    if (options.existing) await requireStore(db, target.dialect, target.label);
    await migrate(db, target.dialect, target.label);
  } catch (error) {
    await db.destroy();
    throw NOT_ALLOWED.has(errorCode(error) ?? '') ? notAllowed(target.label, error) : error;
  }
  return new Store(db, target.dialect, target.label);
}
