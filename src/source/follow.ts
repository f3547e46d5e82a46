/**
 * Follows a log across rotation, from a cursor to its end, and says so when a part is gone. What is left of the file that the cursor
 * points into comes first, then every newer rotated copy, then the log itself; without a cursor all of them, oldest first.
 *
 * A file is known by its content, not by its name or inode: the hash of its first bytes and of the bytes just before the cursor. So a
 * compressed or copied file is found again, a reused inode is not mistaken, and a file cut or rewritten above the cursor is noticed.
 */
import { createHash } from 'node:crypto';
import * as z from 'zod';
import type { System } from '../host/system.ts';
import { contentOf, type LogFile, UnreadableLog, withLog } from './rotated.ts';

/**
 * Bytes hashed at the start of a file, and before the cursor. More than one wtmp record (384 or 400 bytes), whose time stands at its end: two
 * files may well begin with the same boot record but for the time.
 */
const MARK = 1024;
/** How long a rotated copy must have been left alone until nobody is taken to write to it any more, in ms. */
const LEFT_ALONE = 24 * 60 * 60 * 1000;

const markSchema = z.strictObject({
  length: z.int().min(0).max(MARK).describe('how many bytes were hashed'),
  sha256: z.string().describe('SHA-256 of them, hex'),
});

/** Where a reader stands in a log. With an empty `head`: in no file; all that was last written up to `mtime` is done with. */
export const followCursorSchema = z.strictObject({
  inode: z.number().describe('inode of the file: a hint for messages only'),
  mtime: z.number().describe('last change of the file when it was read, milliseconds since 1970'),
  offset: z.int().min(0).describe('bytes of its unfolded content that are done with'),
  head: markSchema.describe('the first bytes of the file'),
  tail: markSchema.describe('the bytes before offset'),
  next: z
    .strictObject({ inode: z.number(), born: z.number() })
    .optional()
    .describe('the log that came after this file, all of which had been read while that was still empty'),
});

export type FollowCursor = z.infer<typeof followCursorSchema>;

/** Something that was there is gone, or cannot be read. */
export interface Lost {
  /** What, in words for people. */
  readonly lost: string;
  /** Stands behind the loss: stored, the same loss is not told twice. */
  readonly cursor: FollowCursor;
  /** Whether what follows may hold what was read before (a file was cut or rewritten, so the place in it is unknown). */
  readonly reread: boolean;
  /** Whether it does hold that: the file still begins as it did. */
  readonly again: boolean;
}

/** A place that was known, of which more is known now. */
export interface Noted {
  readonly noted: true;
  readonly cursor: FollowCursor;
}

/** Consecutive bytes of one file. */
export interface Chunk {
  readonly bytes: Buffer;
  readonly file: LogFile;
  /** Where `bytes` begins in the file's content. */
  readonly offset: number;
  /** The cursor for a reader that has done with the content up to `offset` (this chunk's begin to its end). */
  cursorAt(offset: number): FollowCursor;
}

export interface FollowOptions {
  readonly signal?: AbortSignal;
  /** The present; when left out, that of the call. */
  readonly now?: Date;
}

function markOf(bytes: Buffer): z.infer<typeof markSchema> {
  return { length: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') };
}

function isMarked(bytes: Buffer, mark: z.infer<typeof markSchema>): boolean {
  return bytes.length === mark.length && markOf(bytes).sha256 === mark.sha256;
}

/** The cursor of a reader that has done with every file last written up to `mtime`. */
function beyond(mtime: number): FollowCursor {
  const none = markOf(Buffer.alloc(0));
  return { inode: 0, mtime, offset: 0, head: none, tail: none };
}

/** `length` bytes of a file's content from `from` on, fewer at its end. */
async function slice(system: System, file: LogFile, from: number, length: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  let got = 0;
  for await (const bytes of contentOf(system, file, from)) {
    parts.push(bytes);
    got += bytes.length;
    if (got >= length) break;
  }
  return Buffer.concat(parts).subarray(0, length);
}

/** How a file compares with the one that a cursor points into. */
type Likeness = 'same' | 'other' | 'cut' | 'rewritten' | 'unreadable';

async function compare(system: System, file: LogFile, cursor: FollowCursor): Promise<Likeness> {
  try {
    if (!isMarked(await slice(system, file, 0, cursor.head.length), cursor.head)) return 'other';
    const before = await slice(system, file, cursor.offset - cursor.tail.length, cursor.tail.length);
    if (before.length < cursor.tail.length) return 'cut';
    return isMarked(before, cursor.tail) ? 'same' : 'rewritten';
  } catch (error) {
    if (error instanceof UnreadableLog) return 'unreadable';
    throw error;
  }
}

/** The log itself, while it is empty behind a rotated copy that nobody writes to any more: should the copy go, nothing is lost. */
function emptyNext(path: string, files: readonly LogFile[], index: number, now: Date): FollowCursor['next'] {
  const [file, log] = [files[index], files.at(-1)];
  if (file === undefined || log?.path !== path || files.slice(index + 1).some(({ size }) => size > 0)) return;
  // A log that is copied and then cut stays the same file whatever is lost of it.
  const isNewer = log.born > file.born;
  if (!isNewer || now.getTime() - file.mtime < LEFT_ALONE) return;
  return { inode: log.inode, born: log.born };
}

/** Where to go on: at `offset` of the file at `index` (the number of files when there is nothing to read), after telling `lost`. */
interface Start {
  readonly index: number;
  readonly offset: number;
  /** Files last written up to then are done with, milliseconds since 1970. */
  readonly behind: number;
  readonly lost?: string;
  readonly again?: boolean;
  /** The cursor that led here, where nothing is lost. */
  readonly from?: FollowCursor;
}

/**
 * Index of the first file last written after `mtime`; the number of files when there is none. Where that is still to come, the clock went back, and the
 * log itself may be newer than its time says.
 */
function firstBehind(path: string, files: readonly LogFile[], mtime: number, now: Date): number {
  const isBehind = (file: LogFile): boolean =>
    file.mtime > mtime || (file.path === path && mtime > now.getTime());
  const index = files.findIndex(isBehind);
  return index < 0 ? files.length : index;
}

function describeLoss(
  path: string,
  files: readonly LogFile[],
  cursor: FollowCursor,
  damage: { likeness: Likeness; file: LogFile } | undefined,
): string {
  if (damage !== undefined) {
    return damage.likeness === 'cut'
      ? `${damage.file.path} was cut: it ends before byte ${cursor.offset}, up to which it had been read`
      : `${damage.file.path} was rewritten: the bytes before ${cursor.offset} are not those that had been read`;
  }
  if (files.length === 0) return `${path} and its rotated copies are gone`;
  return files.at(-1)?.inode === cursor.inode
    ? `${path} was truncated or rewritten, and no rotated copy holds what had been read of it`
    : `the file that had been read up to byte ${cursor.offset} is neither ${path} nor a rotated copy of it: rotated away or removed`;
}

/** Finds the cursor's file, the log itself first, then from the newest rotated copy to the oldest. */
async function locate(
  system: System,
  path: string,
  files: readonly LogFile[],
  cursor: FollowCursor,
  now: Date,
): Promise<Start> {
  const afterwards = firstBehind(path, files, cursor.mtime, now);
  if (cursor.head.length === 0) return { index: afterwards, offset: 0, behind: cursor.mtime };
  let damage: { likeness: Likeness; file: LogFile; index: number } | undefined;
  for (let index = files.length - 1; index >= 0; index--) {
    const file = files[index]!;
    const likeness = await compare(system, file, cursor);
    if (likeness === 'same') return { index, offset: cursor.offset, behind: cursor.mtime, from: cursor };
    if (likeness === 'cut' || likeness === 'rewritten') damage ??= { likeness, file, index };
  }
  const { next } = cursor;
  const begun = files.findIndex(({ inode, born }) => inode === next?.inode && born === next.born);
  if (begun >= 0 && damage === undefined)
    return { index: begun, offset: 0, behind: cursor.mtime, from: cursor };
  // The kernel's clock of files stands still for some milliseconds: what replaced a log at once may be as old as what was read of it.
  const sameTick = files.at(-1)?.mtime === cursor.mtime;
  const behind = sameTick ? cursor.mtime - 1 : cursor.mtime;
  const unread = sameTick ? Math.min(afterwards, files.length - 1) : afterwards;
  const index = Math.min(unread, damage?.index ?? files.length);
  return {
    index,
    offset: 0,
    behind,
    lost: describeLoss(path, files, cursor, damage),
    again: damage !== undefined,
  };
}

/** Makes the cursors of one file's chunks, from the bytes that passed. */
class Place {
  readonly #file: LogFile;
  readonly #head: Buffer;
  /** The last bytes before the present chunk. */
  #before: Buffer;

  constructor(file: LogFile, head: Buffer, before: Buffer) {
    this.#file = file;
    this.#head = head;
    this.#before = before;
  }

  chunk(bytes: Buffer, offset: number): Chunk {
    const { inode, mtime } = this.#file;
    const head = this.#head;
    const before = this.#before;
    this.#before = Buffer.concat([before, bytes.subarray(-MARK)]).subarray(-MARK);
    return {
      bytes,
      file: this.#file,
      offset,
      cursorAt(at) {
        const within = at - offset;
        const passed = bytes.subarray(Math.max(0, within - MARK), within);
        const tail =
          passed.length === MARK ? passed : Buffer.concat([before, passed]).subarray(-Math.min(MARK, at));
        return { inode, mtime, offset: at, head: markOf(head), tail: markOf(at === 0 ? passed : tail) };
      },
    };
  }
}

async function* readFile(
  system: System,
  file: LogFile,
  from: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<Chunk | Lost> {
  try {
    const head = await slice(system, file, 0, MARK);
    const known = Math.min(MARK, from);
    const place = new Place(file, head, await slice(system, file, from - known, known));
    let offset = from;
    for await (const bytes of contentOf(system, file, from)) {
      signal?.throwIfAborted();
      yield place.chunk(bytes, offset);
      offset += bytes.length;
    }
  } catch (error) {
    if (!(error instanceof UnreadableLog)) throw error;
    yield { lost: error.message, cursor: beyond(file.mtime), reread: false, again: false };
  }
}

/** The stored cursor, or what is wrong with it. */
function parseCursor(cursor: unknown): FollowCursor | string {
  const parsed = followCursorSchema.safeParse(cursor);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  return `the stored position cannot be understood (${issue?.path.join('.') || 'cursor'}: ${issue?.message})`;
}

async function startFor(
  system: System,
  path: string,
  files: readonly LogFile[],
  cursor: unknown,
  now: Date,
): Promise<Start> {
  if (cursor === undefined) return { index: 0, offset: 0, behind: 0 };
  const parsed = parseCursor(cursor);
  if (typeof parsed === 'string')
    return { index: 0, offset: 0, lost: `${path}: ${parsed}; reading from the start`, behind: 0 };
  return await locate(system, path, files, parsed, now);
}

/**
 * Yields what a log and its rotated copies hold behind `cursor` in chunks of at most some megabytes, and each loss where it shows. Yields nothing
 * when there is no such log (see `hasLog`); when there was one, that is a loss. That a rotated copy with nothing new in it goes, as all of them do in the end,
 * is none.
 */
export function followBytes(
  system: System,
  path: string,
  cursor: unknown,
  { signal, now = new Date() }: FollowOptions = {},
): AsyncGenerator<Chunk | Lost | Noted> {
  return withLog(system, path, async function* (files) {
    const start = await startFor(system, path, files, cursor, now);
    const { index, offset, lost, again = false, behind, from } = start;
    if (lost !== undefined) yield { lost, cursor: beyond(behind), reread: true, again };
    let isNews = lost !== undefined;
    for (const [at, file] of files.slice(index).entries()) {
      for await (const step of readFile(system, file, at === 0 ? offset : 0, signal)) {
        isNews = true;
        yield step;
      }
    }
    const next = isNews ? undefined : emptyNext(path, files, index, now);
    if (from !== undefined && next !== undefined) yield { noted: true, cursor: { ...from, next } };
  });
}
