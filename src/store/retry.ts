/** Tries again what failed only because of the moment: another transaction in the way, or a connection that went. */
import { setTimeout as sleep } from 'node:timers/promises';
import { DsacError, errorCode, reasonOf } from '../errors.ts';

const ATTEMPTS = 5;
const BASE_MS = 50;
/** SQLITE_BUSY, https://www.sqlite.org/rescode.html#busy */
const SQLITE_BUSY = 5;

const IN_THE_WAY = new Set(['ER_LOCK_DEADLOCK', 'ER_LOCK_WAIT_TIMEOUT', 'ER_CHECKREAD']);
const CONNECTION_GONE = new Set([
  'PROTOCOL_CONNECTION_LOST',
  'ECONNRESET',
  'ECONNREFUSED',
  'EPIPE',
  'ETIMEDOUT',
  'ENOENT',
  'EHOSTUNREACH',
  'ER_SERVER_SHUTDOWN',
  'ER_CON_COUNT_ERROR',
  'ER_CONNECTION_KILLED',
  'POOL_CLOSED',
]);

/** Whether the database, and not what it was asked, is the trouble. */
export function isPassing(error: unknown): boolean {
  const code = errorCode(error) ?? '';
  if (IN_THE_WAY.has(code) || CONNECTION_GONE.has(code)) return true;
  // mysql2 marks so what cost the connection; a rollback on one that is gone has no code, and hides the error that it is for.
  if (error instanceof Error && 'fatal' in error && error.fatal === true) return true;
  return error instanceof Error && 'errcode' in error && (Number(error.errcode) & 0xff) === SQLITE_BUSY;
}

/**
 * What MySQL and MariaDB answer when nothing can be written now, whatever it is: no disk or memory, read-only (a replica, after a failover), rights or
 * tables taken away, a limit of the server's. https://mariadb.com/kb/en/mariadb-error-code-reference/
 */
const CLOSED_TO_ALL = new Set([
  'ER_RECORD_FILE_FULL',
  'ER_DISK_FULL',
  'ER_ERROR_ON_WRITE',
  'ER_ERROR_ON_READ',
  'ER_GET_ERRNO',
  'ER_OUTOFMEMORY',
  'ER_OUT_OF_RESOURCES',
  'ER_OUT_OF_SORTMEMORY',
  'ER_ENGINE_OUT_OF_MEMORY',
  'ER_LOCK_TABLE_FULL',
  'ER_OPTION_PREVENTS_STATEMENT',
  'ER_READ_ONLY_MODE',
  'ER_INNODB_READ_ONLY',
  'ER_OPEN_AS_READONLY',
  'ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION',
  'ER_ACCESS_DENIED_ERROR',
  'ER_DBACCESS_DENIED_ERROR',
  'ER_TABLEACCESS_DENIED_ERROR',
  'ER_COLUMNACCESS_DENIED_ERROR',
  'ER_BAD_DB_ERROR',
  'ER_NO_SUCH_TABLE',
  'ER_CRASHED_ON_USAGE',
  'ER_FILE_NOT_FOUND',
  'ER_TABLESPACE_MISSING',
  'ER_TABLESPACE_DISCARDED',
  'ER_TOO_MANY_USER_CONNECTIONS',
  'ER_USER_LIMIT_REACHED',
  'ER_QUERY_INTERRUPTED',
  'ER_QUERY_TIMEOUT',
]);
/** MariaDB's ER_STATEMENT_TIMEOUT (`max_statement_time`), which mysql2 has no name for. */
const STATEMENT_TIMEOUT = 1969;

/** Whether the server takes nothing now, so that another batch would fare no better. */
function isClosedToAll(error: unknown): boolean {
  if (error instanceof Error && 'errno' in error && error.errno === STATEMENT_TIMEOUT) return true;
  return CLOSED_TO_ALL.has(errorCode(error) ?? '');
}

/** What MySQL answers in strict mode when a value does not fit its column, https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html */
const UNFIT = new Set([
  'ER_DATA_TOO_LONG',
  'ER_WARN_DATA_OUT_OF_RANGE',
  'ER_TRUNCATED_WRONG_VALUE_FOR_FIELD',
]);

/** Runs `work`, again after passing trouble, each time after a longer random wait; what lasts becomes an `unavailable` error, a value that does not fit a `data` error. */
export async function retried<T>(label: string, work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (UNFIT.has(errorCode(error) ?? ''))
        throw new DsacError('data', `the store ${label} has no room for a value: ${reasonOf(error)}`, {
          cause: error,
        });
      if (isClosedToAll(error))
        throw new DsacError('unavailable', `the store ${label} cannot be written: ${reasonOf(error)}`, {
          cause: error,
        });
      if (!isPassing(error)) throw error;
      if (attempt === ATTEMPTS) {
        throw new DsacError('unavailable', `the store ${label} is busy or out of reach: ${reasonOf(error)}`, {
          cause: error,
        });
      }
      await sleep(Math.random() * BASE_MS * 2 ** attempt);
    }
  }
}
