/**
 * Reads batches out of bytes that may be damaged or hostile (docs/format.md, what a reader must reject).
 * It never throws for bad bytes: damage is one of the things it yields, and reading goes on behind it.
 */
import { createHash, createPublicKey, type KeyObject, verify } from 'node:crypto';
import { promisify } from 'node:util';
import { zstdDecompress } from 'node:zlib';
import type { z } from 'zod';
import { reasonOf } from '../errors.ts';
import {
  type Batch,
  type BatchEvent,
  eventSchema,
  type Header,
  headerSchema,
  MAX_BATCH,
  MAX_DEPTH,
  MAX_LINE,
  MAX_UNFOLDED,
  type Trailer,
  trailerSchema,
} from './batch.ts';
import { signedText } from './encode.ts';

const LF = 0x0a;
const HEADER_START = Buffer.from('{"dsac":');
const EVENT_START = Buffer.from('{"time":');
const TRAILER_START = Buffer.from('{"end":');
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Bytes that are not a batch: where they start, the bytes, and why a reader must reject them. */
export interface Damage {
  readonly offset: number;
  readonly bytes: Buffer;
  readonly reason: string;
}

export type Decoded =
  | { readonly batch: Batch; readonly damage?: never }
  | { readonly batch?: never; readonly damage: Damage };

function startsWith(bytes: Buffer, at: number, prefix: Buffer): boolean {
  return (
    bytes.length - at >= prefix.length &&
    bytes.compare(prefix, 0, prefix.length, at, at + prefix.length) === 0
  );
}

function parseLine<T>(line: Buffer, schema: z.ZodType<T>, what: string): T {
  let value: unknown;
  try {
    value = JSON.parse(utf8.decode(line));
  } catch (error) {
    throw new Error(`${what} is not JSON: ${reasonOf(error)}`);
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw new Error(`${what}: ${reasonOf(parsed.error)}`);
  return parsed.data;
}

/** Nesting depth by counting brackets outside strings, so that a deep line is refused before it is parsed. */
export function isDeep(line: Buffer): boolean {
  let depth = 0;
  let inString = false;
  for (let i = 0; i < line.length; i++) {
    const byte = line[i]!;
    if (inString) {
      if (byte === 0x5c) i++;
      else if (byte === 0x22) inString = false;
    } else if (byte === 0x22) inString = true;
    else if (byte === 0x7b || byte === 0x5b) {
      if (++depth > MAX_DEPTH) return true;
    } else if (byte === 0x7d || byte === 0x5d) depth--;
  }
  return false;
}

function* parseEvents(bytes: Buffer, start: number, end: number): Generator<BatchEvent> {
  let number = 1;
  for (let at = start; at < end; number++) {
    const stop = bytes.indexOf(LF, at);
    const line = bytes.subarray(at, stop);
    const what = `event ${number}`;
    if (isDeep(line)) throw new Error(`${what}: nests deeper than ${MAX_DEPTH}`);
    yield parseLine(line, eventSchema, what) as BatchEvent;
    at = stop + 1;
  }
}

const publicKeys = new Map<string, KeyObject>();

/** The Ed25519 public key whose 32 raw bytes are `raw` (base64). Throws when they are not a key. */
export function publicKeyFrom(raw: string): KeyObject {
  let key = publicKeys.get(raw);
  if (!key) {
    key = createPublicKey({
      key: { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(raw, 'base64').toString('base64url') },
      format: 'jwk',
    });
    if (publicKeys.size > 10_000) publicKeys.clear();
    publicKeys.set(raw, key);
  }
  return key;
}

/** Why the signature does not hold, or undefined when it does or there is none to check. */
function badSignature(header: Header, trailer: Trailer): string | undefined {
  if (trailer.sig === undefined)
    return header.key === undefined ? undefined : 'the header names a key but the trailer has no sig';
  if (header.key === undefined) return 'the trailer has a sig but the header names no key';
  // Base64 leaves bits unused at its end: another text for the same signature would be another batch with the same digest.
  if (Buffer.from(trailer.sig, 'base64').toString('base64') !== trailer.sig)
    return 'sig is not as base64 is written';
  try {
    const valid = verify(
      null,
      signedText(trailer.sha256),
      publicKeyFrom(header.key),
      Buffer.from(trailer.sig, 'base64'),
    );
    return valid ? undefined : 'sig does not verify under key';
  } catch (error) {
    return `sig cannot be checked: ${reasonOf(error)}`;
  }
}

/** Where the lines of the batch that starts at `start` lie; throws with the reason when its shape is broken. */
function frame(
  bytes: Buffer,
  start: number,
): { events: number; trailer: number; end: number; count: number } {
  let at = start;
  let count = -1;
  let events = start;
  for (;;) {
    const stop = bytes.indexOf(LF, at);
    if (stop < 0) throw new Error(count < 0 ? 'cut in the header' : `cut: no trailer after ${count} events`);
    if (stop - at > MAX_LINE) throw new Error(`a line of ${stop - at} bytes, over ${MAX_LINE}`);
    if (stop - start > MAX_BATCH) throw new Error(`over ${MAX_BATCH} bytes`);
    if (count < 0) events = stop + 1;
    else if (startsWith(bytes, at, TRAILER_START)) return { events, trailer: at, end: stop + 1, count };
    else if (startsWith(bytes, at, HEADER_START))
      throw new Error(`cut: a new header after ${count} events, no trailer`);
    else if (!startsWith(bytes, at, EVENT_START))
      throw new Error(`line ${count + 2} is neither event nor trailer`);
    count++;
    at = stop + 1;
  }
}

function decodeOne(bytes: Buffer, start: number): { batch: Batch; end: number } {
  if (!startsWith(bytes, start, HEADER_START)) throw new Error('bytes that are not a batch header');
  const { events, trailer: trailerAt, end, count } = frame(bytes, start);
  const header = parseLine(bytes.subarray(start, events - 1), headerSchema, 'header') as Header;
  const trailer = parseLine(bytes.subarray(trailerAt, end - 1), trailerSchema, 'trailer') as Trailer;
  if (trailer.count !== count)
    throw new Error(`count: the trailer says ${trailer.count}, there are ${count} events`);
  const body = bytes.subarray(start, trailerAt);
  const sha256 = createHash('sha256').update(body).digest('hex');
  if (sha256 !== trailer.sha256)
    throw new Error(`sha256: the trailer says ${trailer.sha256}, the bytes give ${sha256}`);
  const unsigned = badSignature(header, trailer);
  if (unsigned !== undefined) throw new Error(unsigned);
  const events_ = (): Generator<BatchEvent> => parseEvents(bytes, events, trailerAt);
  return { batch: { header, trailer, bytes: bytes.subarray(start, end), events: events_ }, end };
}

function nextHeader(bytes: Buffer, from: number): number {
  let at = bytes.indexOf(LF, from);
  while (at >= 0 && !startsWith(bytes, at + 1, HEADER_START)) at = bytes.indexOf(LF, at + 1);
  return at < 0 ? bytes.length : at + 1;
}

/** Every batch in `bytes` (one batch or a segment, not compressed), and every stretch that is not one, in order. */
export function* decode(bytes: Buffer): Generator<Decoded> {
  if (bytes.length === 0) yield { damage: { offset: 0, bytes, reason: 'empty file' } };
  for (let at = 0; at < bytes.length; ) {
    let next: number;
    try {
      const { batch, end } = decodeOne(bytes, at);
      yield { batch };
      next = end;
    } catch (error) {
      next = nextHeader(bytes, at);
      yield { damage: { offset: at, bytes: bytes.subarray(at, next), reason: reasonOf(error) } };
    }
    at = next;
  }
}

const zstd = promisify(zstdDecompress);

/** What a stored file holds, unfolded first when its name ends in `.zst`. */
export async function decodeStored(name: string, stored: Buffer): Promise<Decoded[]> {
  if (!name.endsWith('.zst')) return [...decode(stored)];
  try {
    return [...decode(await unfold(stored))];
  } catch (error) {
    return [{ damage: { offset: 0, bytes: stored, reason: `not readable zstd: ${reasonOf(error)}` } }];
  }
}

/** The bytes inside Zstandard frames; rejects when they are damaged or unfold to more than the format allows. */
export async function unfold(bytes: Uint8Array): Promise<Buffer> {
  return zstd(bytes, { maxOutputLength: MAX_UNFOLDED });
}
