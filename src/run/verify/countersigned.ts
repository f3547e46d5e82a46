/** The log of countersigned heads in a verification: itself, and against the batches that are here, in both directions. */
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { reasonOf } from '../../errors.ts';
import { type HeadsRecord, headsFiles, parseRecord, recordDigest } from '../../evidence/heads.ts';
import type { KnownNodes } from '../../evidence/known-nodes.ts';
import { provenKeys } from '../../evidence/succession.ts';
import { placed, type Row } from './findings.ts';
import type { Ledger } from './ledger.ts';

/** Longest line of the log that is read, in bytes: a record of 4096 heads has less than 1 MiB. */
const MAX_RECORD = 8 * 1024 * 1024;
const LF = 0x0a;

/** Where the log ends, for an auditor to note down. */
export interface HeadsEnd {
  readonly records: number;
  readonly n: number;
  readonly sha256: string;
  readonly key: string;
}

/** A record that someone noted down: its number and its digest. */
export interface Noted {
  readonly n: number;
  readonly sha256: string;
}

/** The centre's own identity, as far as it is here. */
export interface Centre {
  readonly node: string;
  readonly publicKey: string;
  readonly succession: readonly { readonly key: string; readonly sig: string }[];
}

interface Line {
  readonly bytes: Buffer;
  readonly number: number;
  /** Whether it ends with its LF. */
  readonly whole: boolean;
}

/** The lines of a file from a byte on, one at a time; one that is over all bounds is cut there. */
async function* linesFrom(path: string, start: number): AsyncGenerator<Line> {
  let rest: Buffer = Buffer.alloc(0);
  let number = 0;
  for await (const piece of createReadStream(path, { start })) {
    rest = rest.length === 0 ? (piece as Buffer) : Buffer.concat([rest, piece as Buffer]);
    for (let stop = rest.indexOf(LF); stop >= 0; stop = rest.indexOf(LF)) {
      yield { bytes: rest.subarray(0, stop), number: ++number, whole: true };
      rest = rest.subarray(stop + 1);
    }
    if (rest.length > MAX_RECORD) break;
  }
  if (rest.length > 0) yield { bytes: rest, number: ++number, whole: false };
}

/** Reads the log into a ledger. It may be read to its end now, and again later for what came since. */
export class HeadsReader {
  readonly #folder: string;
  readonly #ledger: Ledger;
  /** What was noted down and has not been come across. */
  readonly #noted: Map<number, string>;
  #file = '';
  #offset = 0;
  #lines = 0;
  #last: HeadsRecord | undefined;
  #digest: string | null = null;
  #records = 0;
  /** Whether what was read last ended within a line. */
  #torn = false;

  constructor(folder: string, ledger: Ledger, noted: readonly Noted[] = []) {
    this.#folder = folder;
    this.#ledger = ledger;
    this.#noted = new Map(noted.map(({ n, sha256 }) => [n, sha256]));
  }

  /** Where the log ends as far as it was read; undefined when there is none. */
  get end(): HeadsEnd | undefined {
    if (this.#last === undefined) return undefined;
    const { n, key } = this.#last;
    return { records: this.#records, n, sha256: this.#digest!, key };
  }

  /** Reads on to the end. */
  async read(): Promise<void> {
    for (const file of await headsFiles(this.#folder)) {
      if (file < this.#file) continue;
      if (file > this.#file) {
        this.checkEnd();
        [this.#file, this.#offset, this.#lines] = [file, 0, 0];
      }
      this.#torn = false;
      for await (const line of linesFrom(join(this.#folder, file), this.#offset)) this.#take(line);
    }
  }

  #take({ bytes, whole }: Line): void {
    const at = this.#lines + 1;
    this.#torn = !whole;
    if (!whole) return;
    this.#offset += bytes.length + 1;
    this.#lines = at;
    this.#records++;
    try {
      // A byte that is not UTF-8 must not become another character on the way.
      const record = parseRecord(bytes.toString('latin1'));
      this.#check(record, at);
      const line = `heads/${this.#file}:${at}`;
      for (const [node, agent, epoch, seq, sha256] of record.heads)
        this.#ledger.head({ node, agent, epoch, seq, sha256 }, record.time, line);
      this.#last = record;
    } catch (error) {
      this.#tell(at, reasonOf(error));
      if (this.#last) this.#last = { ...this.#last, n: this.#last.n + 1 };
    }
    this.#digest = recordDigest(bytes);
    const n = this.#last?.n ?? 0;
    const noted = this.#noted.get(n);
    if (noted === undefined) return;
    this.#noted.delete(n);
    if (noted !== this.#digest)
      this.#tell(at, `record ${n} is not the one that was noted down`, noted, this.#digest);
  }

  /** Tells of a half line where the log ends: it may be one that was being written when it was read, so that only the last look counts. */
  checkEnd(): void {
    if (this.#torn)
      this.#tell(
        this.#lines + 1,
        'its last line is not whole (what a crash leaves, the next dsac process cuts)',
      );
    this.#torn = false;
  }

  /** Tells which records were noted down and are not in the log. */
  checkNoted(): void {
    for (const [n, sha256] of this.#noted)
      this.#tell(this.#lines, `there is no record ${n}, which was noted down`, sha256);
  }

  #check(record: HeadsRecord, at: number): void {
    const last = this.#last;
    if (record.prev !== this.#digest)
      this.#tell(
        at,
        'it does not follow the record before it',
        this.#digest ?? 'null',
        record.prev ?? 'null',
      );
    const expected = (last?.n ?? 0) + 1;
    if (record.n !== expected)
      this.#tell(at, 'it has another number than the next', `${expected}`, `${record.n}`);
    if (last === undefined) return;
    if (record.node !== last.node) this.#tell(at, 'another centre wrote it', last.node, record.node);
    if (record.key !== last.key && !provenKeys(last.node, record.key, record.succession).includes(last.key))
      this.#tell(
        at,
        'signed by another key than before, for which the old one has not signed',
        last.key,
        record.key,
      );
  }

  /** Holds the last key against that of the centre itself. */
  checkKey(centre: Centre): void {
    if (!this.#last) return;
    const { node, key } = this.#last;
    if (node !== centre.node)
      this.#tell(this.#lines, 'written by another node than this home is', centre.node, node);
    else if (!provenKeys(node, centre.publicKey, centre.succession).includes(key))
      this.#tell(this.#lines, 'not signed by the key of this home', centre.publicKey, key);
  }

  #tell(line: number, message: string, expected?: string, received?: string): void {
    const values = {
      ...(expected === undefined ? {} : { expected }),
      ...(received === undefined ? {} : { received }),
    };
    this.#ledger.tell({ kind: 'heads', message, file: `heads/${this.#file}`, offset: line, ...values });
  }
}

const HEADS_WITHOUT_BATCH = `
  select s.node, s.agent, s.epoch, s.host, h.seq, h.sha256, h.line,
    (select f.label from batches b join files f on f.id = b.file where b.stream = h.stream and b.seq = h.seq limit 1) as label,
    (select b.at from batches b where b.stream = h.stream and b.seq = h.seq limit 1) as at,
    (select b.sha256 from batches b where b.stream = h.stream and b.seq = h.seq limit 1) as here
  from heads h join streams s on s.id = h.stream
  where h.rowid <= ?
    and not exists (select 1 from batches b where b.stream = h.stream and b.seq = h.seq and b.sha256 = h.sha256)
    and not exists (select 1 from waiting w where w.stream = h.stream and w.seq = h.seq and w.sha256 = h.sha256)
  group by h.stream, h.seq, h.sha256
  order by min(h.rowid)`;

const BATCHES_WITHOUT_HEAD = `
  select s.node, s.agent, s.epoch, s.host, b.seq, f.label, b.at
  from batches b join streams s on s.id = b.stream join files f on f.id = b.file
  where not exists (select 1 from heads h where h.stream = b.stream and h.seq = b.seq and h.sha256 = b.sha256)
    and not exists (select 1 from heads h where h.stream = b.stream and h.seq = b.seq
      and not exists (select 1 from batches o where o.stream = h.stream and o.seq = h.seq and o.sha256 = h.sha256)
      and not exists (select 1 from waiting w where w.stream = h.stream and w.seq = h.seq and w.sha256 = h.sha256))
  order by b.file, b.at`;

/**
 * Tells which of the first `read` heads are not here, or are other batches here. `expects`: whether batches of an agent must be here at all.
 */
export function checkTaken(ledger: Ledger, expects: (agent: string) => boolean, read: number): void {
  for (const row of ledger.db.prepare(HEADS_WITHOUT_BATCH).iterate(read) as Iterable<Row>) {
    if (row.here !== null) {
      ledger.tell({
        kind: 'replaced',
        message: `another batch was countersigned (${row.line})`,
        ...placed(row),
        expected: String(row.sha256),
        received: String(row.here),
      });
    } else if (expects(String(row.agent))) {
      ledger.tell({
        kind: 'taken',
        message: `countersigned (${row.line}), and not here whole`,
        ...placed(row),
        expected: String(row.sha256),
      });
    }
  }
}

/** Tells which batches that are here were never countersigned. */
export function checkUncountersigned(ledger: Ledger): void {
  for (const row of ledger.db.prepare(BATCHES_WITHOUT_HEAD).iterate() as Iterable<Row>)
    ledger.tell({
      kind: 'uncountersigned',
      message: 'it was never countersigned',
      ...placed(row),
    });
}

const BY_KEY = `
  select s.node, s.agent, s.epoch, s.host, b.seq, b.key, f.label, b.at,
    (select min(h.time) from heads h where h.stream = b.stream and h.seq = b.seq and h.sha256 = b.sha256) as came
  from batches b join streams s on s.id = b.stream join files f on f.id = b.file
  where s.node = ? and b.key = ?
  order by b.file, b.at`;

/** Tells which batches a revoked key signed that had not been countersigned before it was revoked. */
export function checkRevoked(ledger: Ledger, known: KnownNodes): void {
  const batches = ledger.db.prepare(BY_KEY);
  for (const { node, key, time } of known.revoked()) {
    for (const row of batches.iterate(node, key) as Iterable<Row>) {
      if (row.came !== null && String(row.came) < time) continue;
      ledger.tell({
        kind: 'key',
        message: `signed by a key that is revoked since ${time}`,
        ...placed(row),
        received: key,
      });
    }
  }
}
