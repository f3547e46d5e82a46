/** Kysely over mysql2, for MySQL 8.4 and MariaDB 10.11 and later. */
import { CompiledQuery, Kysely, MysqlDialect } from 'kysely';
import { createPool } from 'mysql2';
import { DsacError, errorCode, reasonOf } from '../errors.ts';
import { teachRowFiles } from './load-data.ts';
import { boundStatements, endStreams } from './mysql-limits.ts';
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
