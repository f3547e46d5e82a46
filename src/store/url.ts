/** Reads the URL that says which database the store is. */
import { isAbsolute, join } from 'node:path';
import { DsacError } from '../errors.ts';

export const DEFAULT_STORE_URL = 'sqlite:var/lib/dsac/store.db';

const FORMS =
  'sqlite:PATH or mysql://user@host:port/database (mariadb:// is the same, ?socket=PATH for a local socket)';

export interface SqliteTarget {
  readonly dialect: 'sqlite';
  /** Absolute path of the file, or `:memory:`. */
  readonly path: string;
  readonly label: string;
}

export interface MysqlTarget {
  readonly dialect: 'mysql';
  readonly host: string;
  readonly port: number;
  readonly socketPath: string | undefined;
  readonly user: string;
  readonly password: string | undefined;
  readonly database: string;
  /** For messages: where it is, without the password. */
  readonly label: string;
}

export type StoreTarget = SqliteTarget | MysqlTarget;

function wrong(reason: string): DsacError {
  return new DsacError('config', `store URL: ${reason}`, { hint: `use ${FORMS}` });
}

function sqliteTarget(path: string, home: string): SqliteTarget {
  if (path === '') throw wrong(`'sqlite:' names no file`);
  const full = path === ':memory:' || isAbsolute(path) ? path : join(home, path);
  return { dialect: 'sqlite', path: full, label: full };
}

/** Percent-decoded, or as it is where it is no valid encoding (a password may hold a bare %). */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function mysqlTarget(text: string): MysqlTarget {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw wrong('it cannot be read as a URL');
  }
  const database = decoded(url.pathname.slice(1));
  if (database === '' || database.includes('/'))
    throw wrong(`expected one database name after the host, found '${url.pathname}'`);
  const unknown = [...url.searchParams.keys()].find((key) => key !== 'socket');
  if (unknown !== undefined) throw wrong(`unknown parameter '${unknown}'; the only one is 'socket'`);
  const socketPath = url.searchParams.get('socket') ?? undefined;
  const host = decoded(url.hostname).replace(/^\[(.*)\]$/, '$1') || 'localhost';
  const port = url.port === '' ? 3306 : Number(url.port);
  return {
    dialect: 'mysql',
    host,
    port,
    socketPath,
    user: decoded(url.username) || 'root',
    password: url.password === '' ? undefined : decoded(url.password),
    database,
    label: `${socketPath ?? `${host}:${port}`}/${database}`,
  };
}

/** What `url` names; relative SQLite paths hang below `home`. Throws a `config` error that never holds the password. */
export function parseStoreUrl(url: string, home: string): StoreTarget {
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(url)?.[1]?.toLowerCase();
  if (scheme === 'sqlite') return sqliteTarget(url.slice('sqlite:'.length).replace(/^\/\/(?=\/)/, ''), home);
  if (scheme === 'mysql' || scheme === 'mariadb') return mysqlTarget(url);
  throw wrong(scheme === undefined ? 'it does not begin with a scheme' : `unknown scheme '${scheme}:'`);
}
