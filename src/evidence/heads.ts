/**
 * The countersigned heads (docs/security.md): an append-only log of the batches that came, signed by the centre before any handler sees them. One
 * JSON object a line, files by month; `prev` chains each record to the one before, across files, and `sig` covers the line above it.
 */
import { createHash, type KeyObject, sign, verify } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { nameSchema } from '../config/name.ts';
import { isMissing, reasonOf } from '../errors.ts';
import {
  epochSchema,
  type Head,
  sha256Schema,
  successionSchema,
  timeSchema,
  uuidSchema,
} from '../spool/batch.ts';
import { realDisk } from '../spool/disk.ts';
import { publicKeyFrom } from '../spool/signature.ts';
import { appendDurably, cutAfter, lastLine } from './append.ts';
import type { Link } from './succession.ts';

/** Most heads in one record: a line stays below 1 MiB. */
const RECORD_HEADS = 4096;
const MONTH_FILE = /^\d{4}-\d{2}\.jsonl$/;

const recordSchema = z.strictObject({
  n: z.int().min(1),
  time: timeSchema,
  /** The centre's own node id. */
  node: uuidSchema,
  heads: z.array(z.tuple([uuidSchema, nameSchema, epochSchema, z.int().min(1), sha256Schema])),
  prev: sha256Schema.nullable(),
  key: z.base64().length(44),
  /** Where the key is another than in the record before: how it follows from that one. */
  succession: successionSchema.optional(),
  sig: z.base64().length(88),
});

/** One record of the log. */
export type HeadsRecord = z.infer<typeof recordSchema>;

/** Who countersigns: the centre's own identity. */
export interface Countersigner {
  readonly node: string;
  readonly key: KeyObject;
  readonly publicKey: string;
  readonly succession: readonly Link[];
}

function sha256(bytes: Buffer | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** What `sig` of a record covers, given the line without `,"sig":…}`. */
function signedText(line: string): Buffer {
  return Buffer.from(`dsac-heads-v1:${sha256(line)}`, 'ascii');
}

const SIG = /,"sig":"[A-Za-z0-9+/=]{88}"\}$/;

/** Parses a line and checks its signature under its own key. Throws with the reason. */
export function parseRecord(line: string): HeadsRecord {
  let record: HeadsRecord;
  try {
    record = recordSchema.parse(JSON.parse(line));
  } catch (error) {
    throw new Error(`not a record: ${reasonOf(error)}`);
  }
  const at = line.search(SIG);
  const text = signedText(line.slice(0, at));
  const sig = Buffer.from(record.sig, 'base64');
  if (at < 0 || sig.toString('base64') !== record.sig || !verify(null, text, publicKeyFrom(record.key), sig))
    throw new Error('sig does not verify under key');
  return record;
}

/** The digest by which the next record names this line. */
export function recordDigest(line: string | Buffer): string {
  return sha256(line);
}

/** The log's files, oldest first; none when there is no log. */
export async function headsFiles(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).filter((name) => MONTH_FILE.test(name)).sort();
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

interface End {
  readonly file: string;
  readonly n: number;
  readonly digest: string | null;
  readonly key: string | undefined;
}

/** The log being written to. Only one process may, so the caller holds a lock. */
export class HeadsLog {
  readonly #folder: string;
  readonly #signer: Countersigner;
  readonly #complain: (reason: string) => void;
  #end: End | undefined;

  /** `complain` hears of damage that does not keep the log from being continued. */
  constructor(folder: string, signer: Countersigner, complain: (reason: string) => void) {
    this.#folder = folder;
    this.#signer = signer;
    this.#complain = complain;
  }

  /** Countersigns heads: when it resolves, the records are durable. One fsync, however many. */
  async add(heads: readonly Head[], now: Date): Promise<void> {
    if (heads.length === 0) return;
    let end = this.#end ?? (await this.#recover());
    const month = `${now.toISOString().slice(0, 7)}.jsonl`;
    // The order of the files is that of the records, whatever the clock does.
    const file = month > end.file ? month : end.file;
    const lines: string[] = [];
    for (let at = 0; at < heads.length; at += RECORD_HEADS) {
      const line = this.#record(heads.slice(at, at + RECORD_HEADS), now, end);
      lines.push(`${line}\n`);
      end = { file, n: end.n + 1, digest: recordDigest(line), key: this.#signer.publicKey };
    }
    this.#end = undefined;
    await appendDurably(join(this.#folder, file), Buffer.from(lines.join('')));
    this.#end = end;
  }

  #record(heads: readonly Head[], now: Date, { n, digest, key }: End): string {
    const { node, key: privateKey, publicKey, succession } = this.#signer;
    const changed = key !== undefined && key !== publicKey && succession.length > 0;
    const line = JSON.stringify({
      n: n + 1,
      time: now.toISOString(),
      node,
      heads: heads.map((head) => [head.node, head.agent, head.epoch, head.seq, head.sha256]),
      prev: digest,
      key: publicKey,
      ...(changed ? { succession } : {}),
    }).slice(0, -1);
    return `${line},"sig":"${sign(null, signedText(line), privateKey).toString('base64')}"}`;
  }

  /** Finds the last record. What a crash left behind it was never relied on: it is cut. */
  async #recover(): Promise<End> {
    await realDisk.mkdir(this.#folder);
    const files = await headsFiles(this.#folder);
    for (const file of files.toReversed()) {
      const path = join(this.#folder, file);
      const { line, end, size } = await lastLine(path);
      if (size > end) await cutAfter(path, end);
      if (line === undefined) continue;
      return { file: files.at(-1)!, digest: recordDigest(line), ...this.#standing(path, line.toString()) };
    }
    return { file: '', n: 0, digest: null, key: undefined };
  }

  /** Number and key of the last record. One that is damaged is told, and the chain goes on over its bytes: `dsac verify` names it. */
  #standing(path: string, line: string): Pick<End, 'n' | 'key'> {
    try {
      const { n, key } = parseRecord(line);
      return { n, key };
    } catch (error) {
      this.#complain(`${path}: its last record is damaged: ${reasonOf(error)}`);
      return { n: Number(/^\{"n":(\d{1,15}),/.exec(line)?.[1] ?? 0), key: undefined };
    }
  }
}
