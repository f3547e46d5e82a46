/** Kysely over mysql2, for MySQL 8.4 and MariaDB 10.11 and later. */
import { CompiledQuery, type DatabaseConnection, Kysely, MysqlDialect } from 'kysely';
import { createPool, type PoolConnection, type Query } from 'mysql2';
import { DsacError, errorCode, reasonOf } from '../errors.ts';
import { teachRowFiles } from './load-data.ts';
import type { Tables } from './tables.ts';
import type { MysqlTarget } from './url.ts';

const CONNECT_MS = 10_000;

/**
 * What every connection is set to, whatever the server's own settings: backslash escapes as mysql2 writes them, too long or invalid values
 * refused, UTC, no gap locks, which loaders of neighbouring nodes would deadlock on, and a day for who reads a report (in a pager, say) to go on:
 * after the minute that is the server's own it ends the connection amid the rows.
 */
const SESSION = [
  `set session sql_mode = 'STRICT_TRANS_TABLES,ONLY_FULL_GROUP_BY,NO_ENGINE_SUBSTITUTION'`,
  `set session time_zone = '+00:00'`,
  'set session transaction isolation level read committed',
  'set session net_write_timeout = 86400',
];

const HINTS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'is the server running, and is this its host and port?',
  ENOENT: 'no such socket: is the server running on this host?',
  ER_ACCESS_DENIED_ERROR: 'check the user and password_file',
  ER_BAD_DB_ERROR: 'create it first: CREATE DATABASE … CHARACTER SET utf8mb4',
};

/** What a character may become in a statement, in bytes: three as UTF-8, or two with a backslash before it. */
const LONGEST = 3;
/** What a statement has beside its values, more than enough. */
const AROUND = 64 * 1024;
const ESCAPED = new Set(Array.from('\0\b\t\n\r\x1a"\'\\', (character) => character.charCodeAt(0)));

/** Bytes that a text takes in a statement, as mysql2 writes it. */
function bytesOf(text: string): number {
  let bytes = Buffer.byteLength(text);
  for (let at = 0; at < text.length; at++) if (ESCAPED.has(text.charCodeAt(at))) bytes++;
  return bytes;
}

/** Throws a `data` error for a statement that is longer than the server takes. */
function requireTaken({ parameters }: CompiledQuery, most: number): void {
  const texts = parameters.filter((value) => typeof value === 'string');
  if (texts.reduce((sum, { length }) => sum + length, 0) * LONGEST + AROUND <= most) return;
  const bytes = texts.reduce((sum, text) => sum + bytesOf(text), AROUND);
  if (bytes > most)
    throw new DsacError(
      'data',
      `a row of ${bytes} bytes is more than the server takes (max_allowed_packet is ${most})`,
    );
}

/** A server ends the connection of who sends it a longer statement than it takes, which looks as if it had gone: so it is looked at before. */
async function boundStatements(connection: DatabaseConnection): Promise<void> {
  const asked = CompiledQuery.raw('select @@max_allowed_packet as most');
  const { rows } = await connection.executeQuery<{ most: number }>(asked);
  const most = Number(rows[0]!.most);
  const execute = connection.executeQuery.bind(connection);
  connection.executeQuery = async (query, ...more) => {
    requireTaken(query, most);
    return execute(query, ...more);
  };
}

/** Tells a stream of rows that its connection has ended: mysql2 tells that to callbacks alone, and the stream would wait for ever. */
function endStreams(connection: PoolConnection, label: string): void {
  const query = connection.query.bind(connection) as (...given: unknown[]) => Query;
  const watched = (...given: unknown[]): Query => {
    const asked = query(...given);
    if (given.some((one) => typeof one === 'function')) return asked;
    const fail = (error: unknown): void => {
      const lost = new DsacError('unavailable', `the store ${label} went away: ${reasonOf(error)}`, {
        cause: error,
      });
      if (asked.listenerCount('error') > 0) asked.emit('error', lost);
    };
    connection.on('error', fail);
    asked.once('end', () => connection.off('error', fail));
    return asked;
  };
  Object.assign(connection, { query: watched });
}

/** Opens a pool to the store's database and makes sure that the server answers. Throws an `unavailable` error without the password. */
export async function openMysql(target: MysqlTarget): Promise<Kysely<Tables>> {
  const pool = createPool({
    ...(target.socketPath === undefined
      ? { host: target.host, port: target.port }
      : { socketPath: target.socketPath }),
    user: target.user,
    ...(target.password === undefined ? {} : { password: target.password }),
    database: target.database,
    charset: 'utf8mb4',
    dateStrings: true,
    connectTimeout: CONNECT_MS,
    connectionLimit: 4,
    enableKeepAlive: true,
  });
  pool.on('connection', teachRowFiles);
  pool.on('connection', (connection) => endStreams(connection, target.label));
  const db = new Kysely<Tables>({
    dialect: new MysqlDialect({
      pool,
      onCreateConnection: async (connection) => {
        for (const statement of SESSION) await connection.executeQuery(CompiledQuery.raw(statement));
        await boundStatements(connection);
      },
    }),
  });
  try {
    await db.executeQuery(CompiledQuery.raw('select 1'));
    return db;
  } catch (error) {
    await db.destroy().catch(() => {});
    throw new DsacError(
      'unavailable',
      `cannot reach the store ${target.label} as ${target.user}: ${reasonOf(error)}`,
      {
        cause: error,
        hint: HINTS[errorCode(error) ?? ''],
      },
    );
  }
}
