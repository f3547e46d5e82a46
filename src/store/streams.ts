/** Keeps `streams`: where each stream stands, by the batches that are here and by what receipts say of it. */
import type { Kysely } from 'kysely';
import type { StreamKey } from '../spool/batch.ts';
import type { DialectName } from './ddl.ts';
import type { Loadable } from './loadable.ts';
import { inPieces, upsertRows } from './rows.ts';
import type { StreamRow, Tables } from './tables.ts';
import { notAfter, toStored } from './times.ts';

/** A stream as the key of a map. */
export const keyOfStream = ({ node, agent, epoch }: StreamKey): string => `${node} ${agent} ${epoch}`;

/** The streams of the nodes being loaded, and what changes of them. */
export class Streams {
  readonly #rows = new Map<string, StreamRow>();
  readonly #changed = new Set<StreamRow>();

  static async read(db: Kysely<Tables>, nodes: readonly string[]): Promise<Streams> {
    const streams = new Streams();
    for (const piece of inPieces(db, nodes)) {
      const rows = await db.selectFrom('streams').selectAll().where('node', 'in', piece).execute();
      for (const row of rows) streams.#rows.set(keyOfStream(row), row);
    }
    return streams;
  }

  /** The streams of one agent on one node, as copies. */
  of(node: string, agent: string): StreamRow[] {
    return [...this.#rows.values()]
      .filter((row) => row.node === node && row.agent === agent)
      .map((row) => ({ ...row }));
  }

  #row(key: StreamKey): StreamRow {
    let row = this.#rows.get(keyOfStream(key));
    if (!row) {
      const { node, agent, epoch } = key;
      const empty = {
        started: null,
        last_time: null,
        last_sha256: null,
        named_sha256: null,
        named_time: null,
      };
      row = { node, agent, epoch, first_seq: 0, last_seq: 0, batches: 0, named_seq: 0, ...empty };
      this.#rows.set(keyOfStream(key), row);
    }
    this.#changed.add(row);
    return row;
  }

  /** A batch has come. */
  add({ header, sha256 }: Loadable): void {
    const row = this.#row(header);
    row.batches++;
    if (row.first_seq === 0 || header.seq < row.first_seq) {
      row.first_seq = header.seq;
      row.started = toStored(header.time);
    }
    if (header.seq > row.last_seq) {
      row.last_seq = header.seq;
      row.last_time = toStored(header.time);
      row.last_sha256 = sha256;
    }
  }

  /** A stream as it stands; undefined when nothing is known of it. */
  get(key: StreamKey): Readonly<StreamRow> | undefined {
    return this.#rows.get(keyOfStream(key));
  }

  /** Receipts of one node have come: each names the head of its agent's stream. The time kept is when a head was first named. `now`: as stored. */
  name(node: string, receipts: Loadable['receipts'], now: string): void {
    for (const { agent, stream, time } of receipts) {
      if (!stream || stream.seq === 0) continue;
      const row = this.#row({ node, agent, epoch: stream.epoch });
      const named = notAfter(now, time);
      const isFirst = stream.seq > row.named_seq || named < (row.named_time ?? named);
      if (stream.seq < row.named_seq || !isFirst) continue;
      row.named_seq = stream.seq;
      row.named_sha256 = stream.sha256;
      row.named_time = named;
    }
  }

  async write(db: Kysely<Tables>, dialect: DialectName): Promise<void> {
    await upsertRows(db, dialect, 'streams', [...this.#changed], {
      keys: ['node', 'agent', 'epoch'],
      update: [
        'started',
        'first_seq',
        'last_seq',
        'last_time',
        'last_sha256',
        'batches',
        'named_seq',
        'named_sha256',
        'named_time',
      ],
    });
  }
}
