/**
 * A log file and its rotated copies, as logrotate leaves them: finds them, orders them, opens them all before the first byte is read
 * (so that a rotation meanwhile moves nothing from under the reader), and unfolds compressed ones as a stream.
 */
import { spawn } from 'node:child_process';
import type { FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Transform } from 'node:stream';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { errorCode, reasonOf } from '../errors.ts';
import type { System } from '../host/system.ts';

/** Bytes read at once; of compressed files few, since one block may unfold to a thousand times its size. */
const BLOCK = 64 * 1024;
const FOLDED_BLOCK = 4 * 1024;
/** How often the files are opened anew when a rotation happens at the very moment. */
const ATTEMPTS = 8;
/** `.1`, or a date as logrotate's dateext (`-20261124`, `-20261124-1795402880`) and savelog-like scripts (`.2026-11-24`) write it. */
const NUMBER = /^\.(\d{1,5})$/;
const DATE = /^[-._](\d{4}-?\d\d-?\d\d(?:[-T_.]?\d{1,10})*)$/;
const FOLDED = /\.(gz|zst|xz|bz2)$/;

/** A file of a log that cannot be unfolded: damaged, cut, or of a kind that needs a command which is not here. */
export class UnreadableLog extends Error {
  override readonly name = 'UnreadableLog';
}

/** One file of a log, open for reading. */
export interface LogFile {
  /** Its path in the system looked at. */
  readonly path: string;
  readonly handle: FileHandle;
  readonly inode: number;
  /** When it was made, milliseconds since 1970; 0 where the file system does not keep it. */
  readonly born: number;
  /** Last change when it was opened, whole milliseconds since 1970. */
  readonly mtime: number;
  /** Size on disk when it was opened; later bytes are for the next run. */
  readonly size: number;
}

interface RotatedName {
  readonly name: string;
  /** The name without its compression's ending: two forms of one file share it. */
  readonly plain: string;
  readonly number: number | undefined;
  readonly date: string | undefined;
}

/** What a name in the log's folder says, or undefined when it is no rotated copy of `log`. Both `dpkg.log.1` and (logrotate's `extension`) `dpkg.1.log` count. */
function rotatedName(log: string, name: string): RotatedName | undefined {
  const plain = name.replace(FOLDED, '');
  const dot = log.lastIndexOf('.');
  const [stem, extension] = dot > 0 ? [log.slice(0, dot), log.slice(dot)] : [log, ''];
  let mark: string | undefined;
  if (plain.startsWith(log)) mark = plain.slice(log.length);
  else if (extension !== '' && plain.startsWith(stem) && plain.endsWith(extension))
    mark = plain.slice(stem.length, -extension.length);
  if (mark === undefined) return undefined;
  const number = NUMBER.exec(mark)?.[1];
  const date = DATE.exec(mark)?.[1];
  if (number === undefined && date === undefined) return undefined;
  return {
    name,
    plain,
    number: number === undefined ? undefined : Number(number),
    date: date?.replaceAll('-', ''),
  };
}

/** A folded file beside its unfolded form is one that is being made, or that a crash left behind: the unfolded form is the whole one. */
function withoutTwins(names: readonly RotatedName[]): RotatedName[] {
  const unfolded = new Set(names.filter(({ name, plain }) => name === plain).map(({ plain }) => plain));
  return names.filter(({ name, plain }) => name === plain || !unfolded.has(plain));
}

/** Names of the rotated copies of `log` in its folder, by style, each oldest first. */
export function rotatedNames(log: string, names: readonly string[]): { numbered: string[]; dated: string[] } {
  const known = withoutTwins(names.flatMap((name) => rotatedName(log, name) ?? []));
  return {
    numbered: known
      .filter(({ number }) => number !== undefined)
      .sort((a, b) => b.number! - a.number!)
      .map(({ name }) => name),
    dated: known
      .filter(({ date }) => date !== undefined)
      .sort((a, b) => (a.date! < b.date! ? -1 : 1))
      .map(({ name }) => name),
  };
}

/** What a log and its rotated copies are among, for a stamp (src/host/stamp.ts). */
export function logFiles(path: string): string {
  const name = basename(path);
  const dot = name.lastIndexOf('.');
  return join(dirname(path), `${dot > 0 ? name.slice(0, dot) : name}*`);
}

/** Whether the log or a rotated copy of it exists. */
export async function hasLog(system: System, path: string): Promise<boolean> {
  if ((await system.stat(path))?.isFile()) return true;
  const { numbered, dated } = rotatedNames(basename(path), (await system.list(dirname(path))) ?? []);
  return numbered.length + dated.length > 0;
}

async function openOne(system: System, path: string): Promise<LogFile | undefined> {
  if (!(await system.stat(path))?.isFile()) return undefined;
  const handle = await system.open(path);
  if (handle === undefined) return undefined;
  const { ino, mtimeMs, birthtimeMs, size } = await handle.stat();
  return { path, handle, inode: ino, born: birthtimeMs, mtime: Math.trunc(mtimeMs), size };
}

async function closeAll(files: readonly (LogFile | undefined)[]): Promise<void> {
  await Promise.all(files.map((file) => file?.handle.close()));
}

/** Opens newest first: during a rotation names move towards older, so that a file is met twice rather than never. */
async function openNames(
  system: System,
  path: string,
  names: readonly string[],
): Promise<(LogFile | undefined)[]> {
  const files: (LogFile | undefined)[] = [];
  for (const name of names.toReversed()) files.unshift(await openOne(system, join(dirname(path), name)));
  return files;
}

/** One attempt: the files oldest first, or undefined when the log was rotated meanwhile. */
async function tryOpen(system: System, path: string): Promise<LogFile[] | undefined> {
  const current = await openOne(system, path);
  const { numbered, dated } = rotatedNames(basename(path), (await system.list(dirname(path))) ?? []);
  const byNumber = await openNames(system, path, numbered);
  const byDate = await openNames(system, path, dated);
  const all = [...byNumber, ...byDate];
  const inodes = new Set([...all, current].flatMap((file) => file?.inode ?? []));
  const still = (await system.stat(path))?.ino === current?.inode;
  const whole = !all.includes(undefined) && inodes.size === all.length + (current === undefined ? 0 : 1);
  if (!still || !whole) {
    await closeAll([...all, current]);
    return undefined;
  }
  const newest = (files: readonly (LogFile | undefined)[]): number => files.at(-1)?.mtime ?? 0;
  const groups = newest(byNumber) <= newest(byDate) ? [byNumber, byDate] : [byDate, byNumber];
  return [...groups.flat(), current].filter((file) => file !== undefined);
}

/** The files of a log, open, oldest first, the log itself last; empty when there is none. The caller closes them. */
async function openLog(system: System, path: string): Promise<LogFile[]> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const files = await tryOpen(system, path);
    if (files !== undefined) return files;
  }
  throw new Error(`${path}: its rotated copies changed ${ATTEMPTS} times while they were being opened`);
}

/** Runs `use` over the open files of a log and closes them, however it ends. */
export async function* withLog<T>(
  system: System,
  path: string,
  use: (files: readonly LogFile[]) => AsyncGenerator<T>,
): AsyncGenerator<T> {
  const files = await openLog(system, path);
  try {
    yield* use(files);
  } finally {
    await closeAll(files);
  }
}

async function* blocks(file: LogFile, from: number, size: number): AsyncGenerator<Buffer> {
  for (let at = from; at < file.size; ) {
    const buffer = Buffer.allocUnsafe(Math.min(size, file.size - at));
    const { bytesRead } = await file.handle.read(buffer, 0, buffer.length, at);
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
    at += bytesRead;
  }
}

/** Unfolds block by block, so that all that is whole before a damage is yielded before the damage is thrown. */
async function* unfold(folded: AsyncIterable<Buffer>, transform: Transform): AsyncGenerator<Buffer> {
  const ready: Buffer[] = [];
  let failure: Error | undefined;
  const closed = new Promise<void>((settle) => void transform.once('close', settle));
  transform.on('data', (bytes: Buffer) => ready.push(bytes));
  transform.on('error', (error) => {
    failure = error;
  });
  try {
    for await (const block of folded) {
      const taken = new Promise<void>((settle) => void transform.write(block, () => settle()));
      await Promise.race([taken, closed]);
      yield* ready.splice(0);
      if (failure !== undefined) throw failure;
    }
    transform.end();
    await closed;
    yield* ready.splice(0);
    if (failure !== undefined) throw failure;
  } finally {
    transform.destroy();
  }
}

/** Unfolds with a command of the running machine. */
async function* unfoldBy(
  system: System,
  command: string,
  folded: AsyncIterable<Buffer>,
): AsyncGenerator<Buffer> {
  const program = await system.which(command);
  if (program === undefined) throw new Error(`the command '${command}' is not installed`);
  const child = spawn(program, ['-dc'], { stdio: ['pipe', 'pipe', 'ignore'] });
  const ended = new Promise<number | null>((settle, reject) => {
    child.once('error', reject);
    child.once('close', settle);
  });
  ended.catch(() => {});
  child.stdin.on('error', () => {});
  const feed = (async () => {
    for await (const block of folded) {
      if (child.stdin.destroyed) return;
      if (!child.stdin.write(block))
        await new Promise<void>((settle) => {
          child.stdin.once('drain', settle);
          child.stdin.once('close', settle);
        });
    }
    child.stdin.end();
  })();
  feed.catch(() => child.kill('SIGKILL'));
  try {
    yield* child.stdout as AsyncIterable<Buffer>;
    const code = await ended;
    await feed;
    if (code !== 0) throw new Error(`${command}: exit ${code}`);
  } finally {
    child.kill('SIGKILL');
    await feed.catch(() => {});
  }
}

function unfolded(system: System, file: LogFile): AsyncGenerator<Buffer> {
  const folded = blocks(file, 0, FOLDED_BLOCK);
  switch (FOLDED.exec(file.path)?.[1]) {
    case 'gz':
      return unfold(folded, createGunzip());
    case 'zst':
      return unfold(folded, createZstdDecompress());
    case 'xz':
      return unfoldBy(system, 'xz', folded);
    default:
      return unfoldBy(system, 'bzip2', folded);
  }
}

/** Yields a folded file's content from an offset on, and says of any failure but one to read the disk that the file is unreadable. */
async function* unfoldedFrom(system: System, file: LogFile, from: number): AsyncGenerator<Buffer> {
  let at = 0;
  try {
    for await (const bytes of unfolded(system, file)) {
      if (at + bytes.length > from) yield at >= from ? bytes : bytes.subarray(from - at);
      at += bytes.length;
    }
  } catch (error) {
    if (errorCode(error) === 'EIO') throw error;
    throw new UnreadableLog(
      `cannot unfold ${file.path} beyond ${at} bytes of its content: ${reasonOf(error)}`,
      { cause: error },
    );
  }
}

/** Yields the content of a log's file from an offset (in the unfolded content) on, in bounded pieces. Throws `UnreadableLog` behind the last good piece. */
export function contentOf(system: System, file: LogFile, from: number): AsyncGenerator<Buffer> {
  return FOLDED.test(file.path) ? unfoldedFrom(system, file, from) : blocks(file, from, BLOCK);
}
