import { createHash, type KeyObject, randomBytes, sign } from 'node:crypto';
import { DsacError } from '../errors.ts';
import type { BatchEvent, Header } from './batch.ts';
import { FORMAT_VERSION, MAX_BATCH, MAX_LINE } from './limits.ts';

/** What the signature covers: a context string, then the hex digest of the bytes above the trailer. */
export function signedText(sha256: string): Buffer {
  return Buffer.from(`dsac-batch-v1:${sha256}`, 'ascii');
}

/** A UUID version 7 (RFC 9562 §5.7) for `now`, in milliseconds since 1970. */
export function uuidv7(now: number): string {
  return uuidFrom(now, randomBytes(16));
}

/** A UUID version 7 whose other bits are those of `random`, 16 bytes or more, for what must have the same id again. */
export function uuidFrom(now: number, random: Uint8Array): string {
  const bytes = Buffer.from(random.subarray(0, 16));
  bytes.writeUIntBE(Math.max(0, now), 0, 6);
  bytes[6] = 0x70 | (bytes[6]! & 0x0f);
  bytes[8] = 0x80 | (bytes[8]! & 0x3f);
  const hex = bytes.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

/** A batch as bytes, and the digest that the next batch of its stream names as `prev`. */
export interface SealedBatch {
  readonly bytes: Buffer;
  readonly sha256: string;
  readonly count: number;
}

// The order in which fields are written; docs/format.md fixes only the first.
const HEADER_ORDER = [
  'dsac',
  'id',
  'node',
  'host',
  'agent',
  'kind',
  'epoch',
  'seq',
  'prev',
  'time',
  'since',
  'boot',
  'machine',
  'state',
  'key',
  'succession',
  'salvage',
] as const;
const EVENT_ORDER = ['time', 'action', 'item', 'source', 'before', 'after', 'by', 'data'] as const;

function inOrder<T extends object>(value: T, order: readonly (keyof T)[]): string {
  const ordered: Partial<T> = {};
  for (const key of order) if (value[key] !== undefined) ordered[key] = value[key];
  return JSON.stringify(ordered);
}

/**
 * Writes a batch: header, events, and a trailer with count, digest and (given a private Ed25519 key) signature.
 * Throws a `data` error when a line or the whole is over the format's limits.
 */
export function seal(
  header: Omit<Header, 'dsac'>,
  events: Iterable<BatchEvent>,
  key?: KeyObject,
): SealedBatch {
  const lines = [inOrder({ ...header, dsac: FORMAT_VERSION } as Header, HEADER_ORDER)];
  for (const event of events) lines.push(inOrder(event, EVENT_ORDER));
  const body = Buffer.from(`${lines.join('\n')}\n`);
  const tooLong = lines.findIndex((line) => line.length * 3 > MAX_LINE && Buffer.byteLength(line) > MAX_LINE);
  if (tooLong >= 0 || body.length > MAX_BATCH - 512) {
    throw new DsacError(
      'data',
      `batch ${header.seq} of ${header.agent}: ${tooLong >= 0 ? `line ${tooLong + 1} is over ${MAX_LINE} bytes` : `${body.length} bytes, over ${MAX_BATCH}`}`,
    );
  }
  const count = lines.length - 1;
  const sha256 = createHash('sha256').update(body).digest('hex');
  const trailer: Record<string, unknown> = { end: 1, count, sha256 };
  if (key) trailer.sig = sign(null, signedText(sha256), key).toString('base64');
  return { bytes: Buffer.concat([body, Buffer.from(`${JSON.stringify(trailer)}\n`)]), sha256, count };
}
