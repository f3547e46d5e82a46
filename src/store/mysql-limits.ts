/** What mysql2 leaves out: a statement that the server does not take, and a connection that ends amid the rows. */
import { CompiledQuery, type DatabaseConnection } from 'kysely';
import type { PoolConnection, Query } from 'mysql2';
import { DsacError, reasonOf } from '../errors.ts';

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
export async function boundStatements(connection: DatabaseConnection): Promise<void> {
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
export function endStreams(connection: PoolConnection, label: string): void {
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
