/**
 * Records of wtmp, btmp and utmp (utmp(5), glibc's <bits/utmp.h>): bytes to records. Four layouts exist. Where `ut_session` and
 * `ut_tv` are 32 bits wide a record has 384 bytes (x86, 32-bit ARM, PowerPC, SPARC), else 400 (AArch64, RISC-V, S/390); and each
 * comes in two byte orders. A file does not say which it has: its content does.
 */
import { endianness } from 'node:os';
import { text } from '../../host/text.ts';

export const RUN_LEVEL = 1;
export const BOOT_TIME = 2;
export const NEW_TIME = 3;
export const OLD_TIME = 4;
export const LOGIN_PROCESS = 6;
export const USER_PROCESS = 7;
export const DEAD_PROCESS = 8;
/** Highest `ut_type` (ACCOUNTING). */
const LAST_TYPE = 9;

export const LAYOUTS = ['384le', '400le', '384be', '400be'] as const;

/** A record's layout: `384le` is 384 bytes, little endian. */
export type Layout = (typeof LAYOUTS)[number];

export interface UtmpRecord {
  readonly type: number;
  readonly pid: number;
  readonly line: string;
  readonly id: string;
  readonly user: string;
  readonly host: string;
  readonly exit: readonly [termination: number, exit: number];
  readonly session: number;
  /** Seconds and microseconds since 1970. */
  readonly sec: number;
  readonly usec: number;
  /** Peer address as text, or null when the record has none. */
  readonly addr: string | null;
}

/** A record, or bytes that are none; `offset` and `length` in bytes. */
export type UtmpPart =
  | { readonly offset: number; readonly length: number; readonly record: UtmpRecord; readonly damage?: never }
  | { readonly offset: number; readonly length: number; readonly damage: string; readonly record?: never };

const LINE = { at: 8, size: 32 };
const ID = { at: 40, size: 4 };
const USER = { at: 44, size: 32 };
const HOST = { at: 76, size: 256 };
const EXIT_AT = 332;
const SESSION_AT = 336;
const RESERVED = 20;
/** Seconds that a strong record may carry: 1980 to 2100. */
const EARLIEST = 315_532_800;
const LATEST = 4_102_444_800;
/** How many records ahead a damaged stretch is compared with what follows it. */
const LOOK_AHEAD = 8;

/** Bytes of one record. */
export function recordSize(layout: Layout): number {
  return layout.startsWith('384') ? 384 : 400;
}

/** How many bytes behind a record are looked at when it is damaged. */
export function lookAhead(layout: Layout): number {
  return (LOOK_AHEAD + 2) * recordSize(layout);
}

/** The layout that the C library of this machine writes: the tie-break where content leaves a choice. */
export function nativeLayout(arch: string = process.arch, order: 'BE' | 'LE' = endianness()): Layout {
  const wide = ['arm64', 'riscv64', 'loong64', 's390x'].includes(arch);
  return `${wide ? 400 : 384}${order === 'BE' ? 'be' : 'le'}`;
}

/** Reads numbers in a layout's byte order. */
class Reader {
  readonly size: number;
  readonly #wide: boolean;
  readonly #little: boolean;

  constructor(layout: Layout) {
    this.size = recordSize(layout);
    this.#wide = this.size === 400;
    this.#little = layout.endsWith('le');
  }

  int16(bytes: Buffer, at: number): number {
    return this.#little ? bytes.readInt16LE(at) : bytes.readInt16BE(at);
  }

  int32(bytes: Buffer, at: number): number {
    return this.#little ? bytes.readInt32LE(at) : bytes.readInt32BE(at);
  }

  /** A field that is 64 bits in the wide layouts; beyond 2^53 it loses low bits, which no plausible value has. */
  #long(bytes: Buffer, at: number): number {
    if (!this.#wide) return this.int32(bytes, at);
    return Number(this.#little ? bytes.readBigInt64LE(at) : bytes.readBigInt64BE(at));
  }

  session(bytes: Buffer, at: number): number {
    return this.#long(bytes, at + SESSION_AT);
  }

  sec(bytes: Buffer, at: number): number {
    return this.#long(bytes, at + (this.#wide ? 344 : 340));
  }

  usec(bytes: Buffer, at: number): number {
    return this.#long(bytes, at + (this.#wide ? 352 : 344));
  }

  addressAt(at: number): number {
    return at + (this.#wide ? 360 : 348);
  }

  /** Where `__glibc_reserved` starts: zero in every record that a C library wrote. */
  reservedAt(at: number): number {
    return this.addressAt(at) + 16;
  }
}

function isZero(bytes: Buffer, from: number, to: number): boolean {
  for (let at = from; at < to; at++) if (bytes[at] !== 0) return false;
  return true;
}

function isPlausible(sec: number): boolean {
  return sec >= EARLIEST && sec <= LATEST;
}

/**
 * Whether the type exists, the time may be, and the bytes that every writer leaves zero are zero; or all bytes are. A record read at a
 * shifted place is none of these: where it has zeros for a type, it has no time.
 */
function isSound(read: Reader, bytes: Buffer, at: number): boolean {
  const type = read.int16(bytes, at);
  const usec = read.usec(bytes, at);
  const reserved = read.reservedAt(at);
  return (
    type >= 0 &&
    type <= LAST_TYPE &&
    usec >= 0 &&
    usec < 1_000_000 &&
    isZero(bytes, at + 2, at + 4) &&
    isZero(bytes, reserved, reserved + RESERVED) &&
    (isPlausible(read.sec(bytes, at)) || isZero(bytes, at, at + read.size))
  );
}

/** Whether these bytes can hardly be anything else than a record that says something: sound, and its terminal is plain text. */
function isStrong(read: Reader, bytes: Buffer, at: number): boolean {
  if (!isSound(read, bytes, at) || read.int16(bytes, at) === 0) return false;
  const end = at + LINE.at + LINE.size;
  let stop = at + LINE.at;
  while (stop < end && bytes[stop]! >= 0x20 && bytes[stop]! < 0x7f) stop++;
  return isZero(bytes, stop, end);
}

function field(bytes: Buffer, at: number, { at: from, size }: { at: number; size: number }): string {
  const start = at + from;
  const zero = bytes.indexOf(0, start);
  return text(bytes.subarray(start, zero < 0 || zero > start + size ? start + size : zero));
}

/** The longest run of two or more zero groups as `::` (RFC 5952). */
function ipv6(groups: readonly string[]): string {
  let best = { at: -1, length: 1 };
  for (let at = 0; at < groups.length; at++) {
    let end = at;
    while (groups[end] === '0') end++;
    if (end - at > best.length) best = { at, length: end - at };
  }
  if (best.at < 0) return groups.join(':');
  return `${groups.slice(0, best.at).join(':')}::${groups.slice(best.at + best.length).join(':')}`;
}

/** `ut_addr_v6`: network order; IPv4 uses the first four bytes only. */
function address(bytes: Buffer, at: number): string | null {
  if (isZero(bytes, at, at + 16)) return null;
  if (isZero(bytes, at + 4, at + 16)) return bytes.subarray(at, at + 4).join('.');
  const groups = Array.from({ length: 8 }, (_, group) => bytes.readUInt16BE(at + group * 2).toString(16));
  return ipv6(groups);
}

function recordAt(read: Reader, bytes: Buffer, at: number): UtmpRecord {
  return {
    type: read.int16(bytes, at),
    pid: read.int32(bytes, at + 4),
    line: field(bytes, at, LINE),
    id: field(bytes, at, ID),
    user: field(bytes, at, USER),
    host: field(bytes, at, HOST),
    exit: [read.int16(bytes, at + EXIT_AT), read.int16(bytes, at + EXIT_AT + 2)],
    session: read.session(bytes, at),
    sec: read.sec(bytes, at),
    usec: read.usec(bytes, at),
    addr: address(bytes, read.addressAt(at)),
  };
}

function score(bytes: Buffer, layout: Layout): number {
  const read = new Reader(layout);
  let points = 0;
  const records = Math.min(64, Math.floor(bytes.length / read.size));
  for (let n = 0; n < records; n++) {
    if (isStrong(read, bytes, n * read.size)) points += 2;
    else if (!isSound(read, bytes, n * read.size)) points -= 1;
  }
  return points;
}

/** The layout whose records the first bytes of a file look like most; `hint` where several look alike. */
export function detectLayout(bytes: Buffer, hint: Layout = '384le'): Layout {
  let best = hint;
  for (const layout of LAYOUTS) if (score(bytes, layout) > score(bytes, best)) best = layout;
  return best;
}

/**
 * How many bytes at `at` are lost before records go on: a whole record as long as one of the next ones stands where it should, else
 * the distance to the first two records in a row that are found anywhere behind it. 0 when these bytes are a record, if an odd one.
 */
function lost(read: Reader, bytes: Buffer, at: number): number {
  const typed = read.int16(bytes, at) >= 0 && read.int16(bytes, at) <= LAST_TYPE;
  const inPlace = typed ? 0 : read.size;
  const ahead = Math.floor((bytes.length - at) / read.size) - 1;
  for (let n = 1; n <= Math.min(LOOK_AHEAD, ahead); n++)
    if (isStrong(read, bytes, at + n * read.size)) return inPlace;
  const limit = Math.min(bytes.length - read.size, at + LOOK_AHEAD * read.size);
  for (let other = at + 1; other <= limit; other++) {
    const next = other + read.size;
    if (!isStrong(read, bytes, other)) continue;
    if (next === bytes.length || (next + read.size <= bytes.length && isStrong(read, bytes, next)))
      return other - at;
  }
  return inPlace;
}

/**
 * Every record in `bytes` and every stretch that is none, in order; the bytes after the last whole record are left to the caller.
 * A stretch of another length than whole records (a torn write) is found and jumped over. Parts that begin at or behind `until` are left too:
 * give it where more bytes follow, `lookAhead` before the end, so that damage is judged by what stands behind it.
 */
export function* decodeUtmp(bytes: Buffer, layout: Layout, until = bytes.length): Generator<UtmpPart> {
  const read = new Reader(layout);
  for (let at = 0; at < until && at + read.size <= bytes.length; ) {
    const gone = isSound(read, bytes, at) ? 0 : lost(read, bytes, at);
    if (gone === 0) yield { offset: at, length: read.size, record: recordAt(read, bytes, at) };
    else yield { offset: at, length: gone, damage: damageAt(read, bytes, at, gone) };
    at += gone || read.size;
  }
}

function damageAt(read: Reader, bytes: Buffer, at: number, length: number): string {
  return length === read.size
    ? `type ${read.int16(bytes, at)}, expected 0 to ${LAST_TYPE}`
    : `${length} bytes that are no record`;
}
