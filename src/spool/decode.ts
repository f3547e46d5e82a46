/**
 * Reads batches out of bytes that may be damaged or hostile (docs/format.md, what a reader must reject).
 * It never throws for bad bytes: damage is one of the things it yields, and reading goes on behind it.
 */
import { hash } from 'node:crypto';
import type * as z from 'zod';
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
  type Trailer,
  trailerSchema,
} from './batch.ts';
import { isEvent } from './event-check.ts';
import { badSignature, unlikeSignature } from './signature.ts';
import { unfold } from './unfold.ts';

const LF = 0x0a;
export const HEADER_START = Buffer.from('{"dsac":');
export const EVENT_START = Buffer.from('{"time":');
export const TRAILER_START = Buffer.from('{"end":');
/** No header with all its fields is shorter: what is need not be parsed. */
const SHORTEST_HEADER = 150;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Bytes that are not a batch: where they start, the bytes, and why a reader must reject them. */
export interface Damage {
  readonly offset: number;
  readonly bytes: Buffer;
  readonly reason: string;
}

/** Whether each signature is verified; when not, who reads sees to it (`badSignatures`). */
export type Signatures = 'verified' | 'unverified';

export type Decoded =
  | { readonly batch: Batch; readonly damage?: never }
  | { readonly batch?: never; readonly damage: Damage };

/** Whether `prefix` stands at `at`. */
export function startsWith(bytes: Buffer, at: number, prefix: Buffer): boolean {
  if (bytes.length - at < prefix.length) return false;
  for (let i = 0; i < prefix.length; i++) if (bytes[at + i] !== prefix[i]) return false;
  return true;
}

function parseJson(line: Buffer, what: string): unknown {
  try {
    return JSON.parse(utf8.decode(line));
  } catch (error) {
    throw new Error(`${what} is not JSON: ${reasonOf(error)}`);
  }
}

function requireValid<T>(value: unknown, schema: z.ZodType<T>, what: string): T {
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

/** The event on a line. Throws with the reason, which begins with `what`, when it is none. */
export function parseEvent(line: Buffer, what: string): BatchEvent {
  if (isDeep(line)) throw new Error(`${what}: nests deeper than ${MAX_DEPTH}`);
  const value = parseJson(line, what);
  return isEvent(value) ? value : (requireValid(value, eventSchema, what) as BatchEvent);
}

/** The lines of some bytes without their ends, the last one also when it has none. */
export function* linesOf(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; ) {
    const stop = bytes.indexOf(LF, at);
    const end = stop < 0 ? bytes.length : stop;
    yield bytes.subarray(at, end);
    at = end + 1;
  }
}

function* parseEvents(bytes: Buffer, start: number, end: number): Generator<BatchEvent> {
  let number = 1;
  for (const line of linesOf(bytes.subarray(start, end))) yield parseEvent(line, `event ${number++}`);
}

/** Whether a trailer is written as every node writes it. Neither digest nor signature covers its text: what else stood in it would be no node's. */
function isAsWritten(line: Buffer, { count, sha256, sig }: Trailer): boolean {
  return line.toString('latin1') === JSON.stringify({ end: 1, count, sha256, sig });
}

/** Where the lines of a batch lie, and how many of them are events. */
interface Frame {
  readonly events: number;
  readonly trailer: number;
  readonly end: number;
  readonly count: number;
}

/** Why the line from `at` to `stop` is too long for a batch that begins at `start`, or undefined. */
function tooLong(start: number, at: number, stop: number): string | undefined {
  if (stop - at > MAX_LINE) return `a line of ${stop - at} bytes, over ${MAX_LINE}`;
  return stop - start > MAX_BATCH ? `over ${MAX_BATCH} bytes` : undefined;
}

/** Where the lines of the batch that starts at `start` lie, or why its shape is broken. Makes no error: a hostile file may have millions. */
function frame(bytes: Buffer, start: number): Frame | string {
  let stop = bytes.indexOf(LF, start);
  if (stop < 0) return 'cut in the header';
  if (stop - start < SHORTEST_HEADER) return `header: ${stop - start} bytes, too short to be one`;
  const events = stop + 1;
  for (let at = start, count = -1; ; count++, at = stop + 1, stop = bytes.indexOf(LF, at)) {
    if (stop < 0) return `cut: no trailer after ${count} events`;
    const long = tooLong(start, at, stop);
    if (long !== undefined) return long;
    if (count < 0) continue;
    if (startsWith(bytes, at, EVENT_START)) continue;
    if (startsWith(bytes, at, TRAILER_START)) return { events, trailer: at, end: stop + 1, count };
    if (startsWith(bytes, at, HEADER_START)) return `cut: a new header after ${count} events, no trailer`;
    return `line ${count + 2} is neither event nor trailer`;
  }
}

/** The batch that starts at `start`, checked but for its events; throws with the reason when it is none. */
function checked(
  bytes: Buffer,
  start: number,
  { events, trailer: trailerAt, end, count }: Frame,
  signatures: Signatures,
): Batch {
  const line = (what: string, from: number, to: number): unknown => parseJson(bytes.subarray(from, to), what);
  const header = requireValid(line('header', start, events - 1), headerSchema, 'header') as Header;
  const trailer = requireValid(line('trailer', trailerAt, end - 1), trailerSchema, 'trailer') as Trailer;
  if (trailer.count !== count)
    throw new Error(`count: the trailer says ${trailer.count}, there are ${count} events`);
  const body = bytes.subarray(start, trailerAt);
  const sha256 = hash('sha256', body, 'hex');
  if (sha256 !== trailer.sha256)
    throw new Error(`sha256: the trailer says ${trailer.sha256}, the bytes give ${sha256}`);
  if (!isAsWritten(bytes.subarray(trailerAt, end - 1), trailer))
    throw new Error('trailer: not written as a trailer is');
  const unsigned =
    signatures === 'verified' ? badSignature(header, trailer) : unlikeSignature(header, trailer);
  if (unsigned !== undefined) throw new Error(unsigned);
  const events_ = (): Generator<BatchEvent> => parseEvents(bytes, events, trailerAt);
  return { header, trailer, bytes: bytes.subarray(start, end), events: events_ };
}

/** The batch that starts at `start`, or why there is none. */
function decodeOne(bytes: Buffer, start: number, signatures: Signatures): Batch | string {
  if (!startsWith(bytes, start, HEADER_START)) return 'bytes that are not a batch header';
  const framed = frame(bytes, start);
  if (typeof framed === 'string') return framed;
  try {
    return checked(bytes, start, framed, signatures);
  } catch (error) {
    return reasonOf(error);
  }
}

/**
 * How often in one file a header is looked for within a line: what a power cut left of one batch may run into the next. Within a line's JSON no
 * header stands; that of a hostile file may hold very many, and each try can cost as much as a batch has.
 */
const TRIES_IN_LINES = 16;

/** Finds where reading may go on behind damage. */
class Headers {
  readonly #bytes: Buffer;
  #tries = TRIES_IN_LINES;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** The next place behind `from` where a header may begin, or the end. */
  after(from: number): number {
    const bytes = this.#bytes;
    for (let at = bytes.indexOf(HEADER_START, from + 1); at >= 0; at = bytes.indexOf(HEADER_START, at + 1)) {
      if (bytes[at - 1] === LF) return at;
      if (this.#tries === 0) continue;
      this.#tries--;
      return at;
    }
    return bytes.length;
  }
}

/** Damage from `offset` to `end`, of which the first of `stretches` is told. */
function damageOf(bytes: Buffer, offset: number, end: number, reason: string, stretches: number): Decoded {
  const more = stretches > 1 ? ` (and ${stretches - 1} more behind it)` : '';
  return { damage: { offset, bytes: bytes.subarray(offset, end), reason: `${reason}${more}` } };
}

/**
 * Every batch in `bytes` (one batch or a segment, not compressed), and every stretch that is not one, in order. Between two batches
 * there is one stretch at most, however many broken batches lie in it.
 */
export function* decode(bytes: Buffer, signatures: Signatures = 'verified'): Generator<Decoded> {
  if (bytes.length === 0) yield { damage: { offset: 0, bytes, reason: 'empty file' } };
  const headers = new Headers(bytes);
  let bad: { readonly offset: number; readonly reason: string; stretches: number } | undefined;
  for (let at = 0; at < bytes.length; ) {
    const found = decodeOne(bytes, at, signatures);
    if (typeof found === 'string') {
      bad ??= { offset: at, reason: found, stretches: 0 };
      bad.stretches++;
      at = headers.after(at);
      continue;
    }
    if (bad) yield damageOf(bytes, bad.offset, at, bad.reason, bad.stretches);
    bad = undefined;
    yield { batch: found };
    at += found.bytes.length;
  }
  if (bad) yield damageOf(bytes, bad.offset, bytes.length, bad.reason, bad.stretches);
}

/** How many stretches of damage are told of one by one. */
const TOLD = 8;

/** What is damaged in a file, for `F.why.json`: where and why; undefined when nothing is. */
export function damageReason(decoded: readonly Decoded[]): string | undefined {
  const damages = decoded.flatMap(({ damage }) => damage ?? []);
  if (damages.length === 0) return undefined;
  const told = damages.slice(0, TOLD).map(({ offset, reason }) => `at byte ${offset}: ${reason}`);
  if (damages.length > TOLD) told.push(`and ${damages.length - TOLD} more`);
  return told.join('; ');
}

/** What a stored file holds, unfolded first when its name ends in `.zst`. */
export async function decodeStored(
  name: string,
  stored: Buffer,
  signatures: Signatures = 'verified',
): Promise<Decoded[]> {
  if (!name.endsWith('.zst')) return [...decode(stored, signatures)];
  try {
    return [...decode(await unfold(stored), signatures)];
  } catch (error) {
    return [{ damage: { offset: 0, bytes: stored, reason: `not readable zstd: ${reasonOf(error)}` } }];
  }
}
