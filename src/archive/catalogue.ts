/**
 * Which batches an archive holds, and in which segment: an SQLite file beside the segments. It can be deleted at any time; it is made again
 * from the segments, which are the archive.
 */
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { DsacError, reasonOf } from '../errors.ts';
import type { Batch } from '../spool/batch.ts';

/** How long to wait for another process that writes, in ms. */
const BUSY_TIMEOUT = 10_000;

const SCHEMA = `
  pragma journal_mode = wal;
  pragma synchronous = full;
  create table if not exists segments (
    id integer primary key,
    path text not null unique,
    sha256 text,
    size integer
  );
  create table if not exists batches (
    node text not null,
    agent text not null,
    epoch text not null,
    seq integer not null,
    sha256 text not null,
    segment integer not null references segments (id),
    primary key (node, agent, epoch, seq, sha256)
  ) without rowid;
`;

/** A segment as it was written: its path below the archive, the digest of the file (64 hex digits) and its size in bytes. */
export interface Segment {
  readonly path: string;
  readonly sha256: string;
  readonly size: number;
}

/** What the archive holds of one place in a stream: nothing, this very batch, or only others (the stream forked). */
export type Held = 'none' | 'same' | 'other';

export class Catalogue {
  readonly #database: DatabaseSync;
  readonly #held: StatementSync;
  readonly #addSegment: StatementSync;
  readonly #addBatch: StatementSync;

  constructor(path: string) {
    try {
      this.#database = new DatabaseSync(path, { timeout: BUSY_TIMEOUT });
      this.#database.exec(SCHEMA);
      this.#addColumns();
    } catch (error) {
      throw new DsacError('io', `cannot use the archive's index ${path}: ${reasonOf(error)}`, {
        cause: error,
        hint: 'if it is damaged, delete it: it is made again from the segments',
      });
    }
    this.#held = this.#database.prepare(
      'select sha256 from batches where node = ? and agent = ? and epoch = ? and seq = ?',
    );
    this.#addSegment = this.#database.prepare('insert into segments (path, sha256, size) values (?, ?, ?)');
    this.#addBatch = this.#database.prepare('insert or ignore into batches values (?, ?, ?, ?, ?, ?)');
  }

  /** An index of before these columns says nothing of the files that it knows. */
  #addColumns(): void {
    const names = this.#database.prepare('pragma table_info(segments)').all();
    if (names.some(({ name }) => name === 'sha256')) return;
    this.#database.exec(
      'alter table segments add column sha256 text; alter table segments add column size integer',
    );
  }

  /** What is held where this batch belongs. */
  holds({ header, trailer }: Batch): Held {
    const rows = this.#held.all(header.node, header.agent, header.epoch, header.seq);
    if (rows.length === 0) return 'none';
    return rows.some(({ sha256 }) => sha256 === trailer.sha256) ? 'same' : 'other';
  }

  /** Records a segment and its batches, all or nothing. */
  add({ path, sha256, size }: Segment, batches: readonly Batch[]): void {
    this.#database.exec('begin immediate');
    try {
      const { lastInsertRowid } = this.#addSegment.run(path, sha256, size);
      for (const { header, trailer } of batches) {
        const { node, agent, epoch, seq } = header;
        this.#addBatch.run(node, agent, epoch, seq, trailer.sha256, lastInsertRowid);
      }
      this.#database.exec('commit');
    } catch (error) {
      // SQLite itself has taken back what met a full disk, and would answer that there is nothing to take back.
      if (this.#database.isTransaction) this.#database.exec('rollback');
      throw error;
    }
  }

  /** Whether a segment is recorded. */
  knows(segment: string): boolean {
    return this.#database.prepare('select 1 from segments where path = ?').get(segment) !== undefined;
  }

  /** The segment that was recorded last, or undefined when there is none. */
  latest(): string | undefined {
    const row = this.#database.prepare('select path from segments order by id desc limit 1').get();
    return row === undefined ? undefined : String(row.path);
  }

  close(): void {
    if (this.#database.isOpen) this.#database.close();
  }
}
