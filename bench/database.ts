/** Databases of a bench's own, and MariaDB's own way to load rows. */
import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import type { RowDataPacket } from 'mysql2';
import type { Connection } from 'mysql2/promise';
import { connectionOf } from '../test/helpers/private-services.ts';
import { mysqlUrl, onDatabase } from '../test/helpers/services.ts';
import type { Scope } from './bench.ts';

/** How much of the file the client hands over at once, in bytes. */
const PIECE = 1024 * 1024;

/** Makes a database that nobody else uses, and answers its URL; it goes when the bench ends. */
export async function newDatabase({ defer }: Pick<Scope, 'defer'>): Promise<string> {
  const name = `dsac_bench_${randomBytes(8).toString('hex')}`;
  await onDatabase(mysqlUrl(), `create database ${name} character set utf8mb4`);
  defer(() => onDatabase(mysqlUrl(), `drop database if exists ${name}`));
  const url = new URL(mysqlUrl());
  url.pathname = `/${name}`;
  return url.href;
}

export async function dropDatabase(url: string): Promise<void> {
  await onDatabase(mysqlUrl(), `drop database ${new URL(url).pathname.slice(1)}`);
}

async function connected<T>(url: string, work: (connection: Connection) => Promise<T>): Promise<T> {
  const { createConnection } = await import('mysql2/promise');
  const connection = await createConnection({
    ...connectionOf(url),
    database: new URL(url).pathname.slice(1),
    dateStrings: true,
  });
  try {
    return await work(connection);
  } finally {
    await connection.end();
  }
}

/** A value as LOAD DATA reads it from a file with tabs between fields. */
function field(value: unknown): string {
  if (value === null) return '\\N';
  return String(value).replaceAll('\\', '\\\\').replaceAll('\t', '\\t').replaceAll('\n', '\\n');
}

/** The rows of a table of a store as a file for LOAD DATA. */
export async function unloaded(url: string, table: string): Promise<Buffer> {
  return connected(url, async (connection) => {
    const [rows] = await connection.query<RowDataPacket[]>(`select * from \`${table}\``);
    return Buffer.from(rows.map((row) => `${Object.values(row).map(field).join('\t')}\n`).join(''));
  });
}

function* pieces(file: Buffer): Generator<Buffer> {
  for (let at = 0; at < file.length; at += PIECE) yield file.subarray(at, at + PIECE);
}

/** Loads such a file into an empty table of the same shape, in one statement; answers the seconds of that. */
export async function loadData(url: string, table: string, file: Buffer): Promise<number> {
  return connected(url, async (connection) => {
    await connection.query('drop table if exists loaded');
    await connection.query(`create table loaded like \`${table}\``);
    const before = performance.now();
    await connection.query({
      sql: `load data local infile 'rows' into table loaded character set utf8mb4`,
      infileStreamFactory: () => Readable.from(pieces(file), { objectMode: false }),
    });
    const seconds = (performance.now() - before) / 1000;
    await connection.query('drop table loaded');
    return seconds;
  });
}

/** How many rows a table has. */
export async function rowsIn(url: string, table: string): Promise<number> {
  const [row] = await onDatabase(url, `select count(*) as n from \`${table}\``);
  return Number(row!.n);
}
