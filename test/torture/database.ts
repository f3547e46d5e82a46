/** A database of a fault's own on a MariaDB that it breaks. */
import { spawnSync } from 'node:child_process';
import { rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { errorCode } from '../../src/errors.ts';
import { connectionOf, type PrivateMariaDb } from '../helpers/private-services.ts';
import { onDatabase } from '../helpers/services.ts';
import type { Scope } from './fault.ts';
import type { Ask } from './flood.ts';

/** Room on a small disk, in bytes. */
const TINY = 32 * 1024 * 1024;

export class Database {
  readonly name: string;
  readonly url: string;
  readonly server: PrivateMariaDb;

  private constructor(server: PrivateMariaDb, name: string) {
    this.server = server;
    this.name = name;
    this.url = `${server.url}/${name}`;
  }

  static async make(server: PrivateMariaDb, name: string): Promise<Database> {
    const database = new Database(server, name);
    await onDatabase(server.url, `create database ${name} character set utf8mb4`);
    return database;
  }

  readonly ask: Ask = (sql) => onDatabase(this.url, sql);

  /** Ends every connection to the database, in the middle of what it is doing; answers how many. */
  async killConnections(): Promise<number> {
    const found = await onDatabase(
      this.server.url,
      `select id from information_schema.processlist where db = '${this.name}'`,
    );
    for (const { id } of found) await onDatabase(this.server.url, `kill connection ${id}`).catch(() => {});
    return found.length;
  }

  /** From now on who waits for a row's lock hears after a second that it waited too long. */
  async shortenLockWaits(): Promise<void> {
    await onDatabase(this.server.url, 'set global innodb_lock_wait_timeout = 1');
  }

  /** Locks what every loader needs; answers what lets go. */
  async holdLock(): Promise<() => void> {
    const { createConnection } = await import('mysql2/promise');
    const connection = await createConnection({ ...connectionOf(this.url), database: this.name });
    await connection.query('begin');
    await connection.query('select node from nodes for update');
    return () => connection.destroy();
  }

  get #folder(): string {
    return join(this.server.datadir, this.name);
  }

  /** Puts its tables, none yet, on a small disk of their own. False where that cannot be. */
  mountTiny(scope: Pick<Scope, 'defer'>): boolean {
    const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${TINY}`, 'none', this.#folder]);
    if (status !== 0) return false;
    scope.defer(() => spawnSync('umount', ['-l', this.#folder]));
    return true;
  }

  /** Fills that disk. */
  fill(): void {
    const { bavail, bsize } = statfsSync(this.#folder);
    try {
      writeFileSync(join(this.#folder, 'ballast'), Buffer.alloc(bavail * bsize));
    } catch (error) {
      // The server took some of it in between: all the same it is full.
      if (errorCode(error) !== 'ENOSPC') throw error;
    }
  }

  /** Makes room again; the server is started again where a full disk has ended it. */
  async makeRoom(): Promise<void> {
    rmSync(join(this.#folder, 'ballast'), { force: true });
    const answers = await this.ask('select 1').catch(() => undefined);
    if (answers !== undefined) return;
    await this.server.kill();
    await this.server.again();
  }
}
