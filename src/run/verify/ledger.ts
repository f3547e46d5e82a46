/**
 * What a verification remembers of all that it reads: a temporary SQLite database, on disk and gone when it is closed, so that memory does not
 * grow with the archive and batches may lie in any order.
 */
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import type { Head, Header, StreamKey } from '../../spool/batch.ts';
import type { Finding } from './findings.ts';

const SCHEMA = `
  pragma journal_mode = off;
  pragma synchronous = off;
  pragma cache_size = -65536;
  create table files (id integer primary key, path text not null, label text not null, sha256 text, size integer);
  create table streams (id integer primary key, node text not null, agent text not null, epoch text not null, host text);
  create table batches (
    stream integer not null, seq integer not null, sha256 text not null, prev text, key text, time text not null,
    events integer not null, file integer not null, at integer not null, content text
  );
  create table heads (stream integer not null, seq integer not null, sha256 text not null, time text not null, line text not null);
  create table waiting (stream integer not null, seq integer not null, sha256 text not null);
  create table findings (id integer primary key, kind text not null, body text not null);
  begin;
`;

/** Made when all is read: one sort each, instead of one search for each row. */
const INDEXES = `
  create index batches_place on batches (stream, seq, sha256);
  create index heads_place on heads (stream, seq, sha256);
  create index waiting_place on waiting (stream, seq, sha256);
  create unique index streams_key on streams (node, agent, epoch);
  create index files_path on files (path);
  analyze;
`;

/** A batch as it was read. */
export interface Entry {
  readonly header: Header;
  readonly sha256: string;
  readonly events: number;
  readonly file: number;
  readonly at: number;
  /** Digest of what the store must hold of its events. */
  readonly content?: string | undefined;
}

export class Ledger {
  readonly db: DatabaseSync;
  readonly #streams = new Map<string, number>();
  readonly #add: Readonly<
    Record<'file' | 'stream' | 'batch' | 'head' | 'waiting' | 'finding', StatementSync>
  >;

  constructor() {
    // The empty name is a private file that SQLite deletes: https://www.sqlite.org/inmemorydb.html
    this.db = new DatabaseSync('');
    this.db.exec(SCHEMA);
    this.#add = {
      file: this.db.prepare('insert into files (path, label, sha256, size) values (?, ?, ?, ?)'),
      stream: this.db.prepare('insert into streams values (?, ?, ?, ?, ?)'),
      batch: this.db.prepare('insert into batches values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)'),
      head: this.db.prepare('insert into heads values (?, ?, ?, ?, ?)'),
      waiting: this.db.prepare('insert into waiting values (?, ?, ?)'),
      finding: this.db.prepare('insert into findings (kind, body) values (?, ?)'),
    };
  }

  #stream({ node, agent, epoch }: StreamKey, host: string | null): number {
    const key = `${node} ${agent} ${epoch}`;
    let id = this.#streams.get(key);
    if (id === undefined) {
      id = this.#streams.size + 1;
      this.#streams.set(key, id);
      this.#add.stream.run(id, node, agent, epoch, host);
    }
    return id;
  }

  /** A file: its path below where it was found, and as messages name it. Answers its number. */
  file(path: string, label: string, stored?: { readonly sha256: string; readonly size: number }): number {
    return Number(
      this.#add.file.run(path, label, stored?.sha256 ?? null, stored?.size ?? null).lastInsertRowid,
    );
  }

  batch({ header, sha256, events, file, at, content }: Entry): void {
    const { seq, prev, key, time } = header;
    const stream = this.#stream(header, header.host);
    this.#add.batch.run(stream, seq, sha256, prev, key ?? null, time, events, file, at, content ?? null);
  }

  /** A countersigned head; `line` is where it is. */
  head(head: Head, time: string, line: string): void {
    this.#add.head.run(this.#stream(head, null), head.seq, head.sha256, time, line);
  }

  /** How many heads there are by now. */
  get headsSoFar(): number {
    return Number(this.db.prepare('select count(*) as n from heads').get()!.n);
  }

  /** A batch that is on its way, in a spool. */
  waits(head: Head): void {
    this.#add.waiting.run(this.#stream(head, null), head.seq, head.sha256);
  }

  tell(finding: Finding): void {
    this.#add.finding.run(finding.kind, JSON.stringify(finding));
  }

  /** All is read: makes the indexes that comparing needs. */
  arrange(): void {
    this.db.exec(INDEXES);
  }

  /** What was found, in the order in which it was. */
  *findings(): Generator<Finding> {
    for (const { body } of this.db.prepare('select body from findings order by id').iterate())
      yield JSON.parse(String(body)) as Finding;
  }

  counts(): { kind: string; count: number }[] {
    return this.db
      .prepare('select kind, count(*) as count from findings group by kind order by min(id)')
      .all()
      .map(({ kind, count }) => ({ kind: String(kind), count: Number(count) }));
  }

  close(): void {
    this.db.close();
  }
}
