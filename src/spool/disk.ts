/**
 * Every file operation that the spool and the agents' state are made of. Nothing below src/spool or in src/run/state.ts touches files
 * in another way, so that a test can put a failing or crashing disk beneath them.
 */
import { randomUUID } from 'node:crypto';
import {
  closeSync,
  constants,
  type Dirent,
  fstatSync,
  fsync,
  linkSync,
  lstatSync,
  mkdirSync,
  opendirSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { promisify } from 'node:util';
import { errorCode, isMissing } from '../errors.ts';

/** What a file system has, and what an ordinary user may still take of it. Inodes are 0 where it has no fixed number of them. */
export interface Space {
  readonly bytes: number;
  readonly freeBytes: number;
  readonly inodes: number;
  readonly freeInodes: number;
}

/** What files take on disk. A file with several names counts once, in equal shares. */
export interface Usage {
  bytes: number;
  files: number;
}

export interface Disk {
  /** Writes a new file whole and fsyncs it; replaces a leftover of the same name. The name is durable only after `sync` of its directory. */
  write(path: string, bytes: Uint8Array, mode?: number): Promise<void>;
  /** The bytes of a regular file; rejects with the code `NO_FILE` for anything else, and with `TOO_LARGE` for one of more than `most`. */
  read(path: string, most?: number): Promise<Buffer>;
  rename(from: string, to: string): Promise<void>;
  link(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  /** Makes a directory and its missing ancestors, each made durable in its parent. */
  mkdir(path: string, mode?: number): Promise<void>;
  /** fsyncs a directory: names made or removed in it survive a power cut from here on. */
  sync(directory: string): Promise<void>;
  /** Names of the regular files in a directory, streamed in no order; nothing when it is not there. */
  list(directory: string): AsyncGenerator<string>;
  /** Size in bytes, time of last change in ms, names and inode, or undefined when it is not there. */
  stat(path: string): Promise<{ size: number; mtimeMs: number; links: number; inode: number } | undefined>;
  /** Writes over the beginning of a file that is there, and fsyncs it: takes no new space where the file is as long already. */
  overwrite(path: string, bytes: Uint8Array): Promise<void>;
  /** What the file system that holds a directory has and has left; undefined when the directory is not there. */
  space(directory: string): Promise<Space | undefined>;
  /** What all files below a directory take; no longer counted once it is more than `most`. */
  usage(directory: string, most: Usage): Promise<Usage>;
}

/** What a file takes: blocks of 512 bytes (stat(2)), divided among its names. Gone meanwhile: nothing. */
function addUsage(used: Usage, path: string): void {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (!found) return;
  used.bytes += (found.blocks * 512) / found.nlink;
  used.files += 1 / found.nlink;
}

/** Waits for an open file, or directory, to be on disk. The one call that may take long: all else runs on meanwhile. */
const synced = promisify(fsync);

/** Writes all of `bytes` from a file's beginning: one write(2) may take only a part of them. */
function writeAll(file: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at, bytes.length - at, at);
}

/** The error codes for what is there but is no regular file, and for one that is larger than was asked for. */
export const NO_FILE = 'EINVAL';
export const TOO_LARGE = 'EFBIG';

function refuse(code: string, message: string): never {
  throw Object.assign(new Error(message), { code });
}

/** More than this no call reads at once, in bytes. */
const MOST_READ = 2 ** 31 - 1;

/** Reads a file as long as it is when it is opened. Opening a pipe would wait for its writer, reading a device need never end: neither is done. */
function readRegular(path: string, most = MOST_READ): Buffer {
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const found = fstatSync(file);
    if (!found.isFile()) refuse(NO_FILE, `${path} is no regular file`);
    if (found.size > most) refuse(TOO_LARGE, `${found.size} bytes, over ${most}`);
    // What /proc shows has no size.
    return found.size === 0 ? readFileSync(file) : readSized(file, found.size);
  } finally {
    closeSync(file);
  }
}

function readSized(file: number, size: number): Buffer {
  const bytes = Buffer.allocUnsafeSlow(size);
  let at = 0;
  for (let got = -1; at < size && got !== 0; at += got) got = readSync(file, bytes, at, size - at, at);
  return bytes.subarray(0, at);
}

async function syncDirectory(path: string): Promise<void> {
  const directory = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await synced(directory);
  } finally {
    closeSync(directory);
  }
}

/** Entries of a directory after which timers and signals have their turn. */
const TURN = 256;

/** The entries of a directory, streamed. */
async function* entriesOf(path: string): AsyncGenerator<Dirent> {
  const directory = opendirSync(path, { bufferSize: TURN });
  try {
    let count = 0;
    for (let entry = directory.readSync(); entry !== null; entry = directory.readSync()) {
      if (++count % TURN === 0) await setImmediate();
      yield entry;
    }
  } finally {
    directory.closeSync();
  }
}

/**
 * The real file system. Every call but fsync is made in place: a page cache answers in microseconds, and handing each of them to a thread of
 * libuv's and back costs several times that, for every one of a backlog's files.
 */
export const realDisk: Disk = {
  async write(path, bytes, mode = 0o640) {
    rmSync(path, { force: true });
    const file = openSync(path, 'wx', mode);
    try {
      writeAll(file, bytes);
      await synced(file);
    } catch (error) {
      // What a full disk took of it would only keep the disk full.
      attempt(() => rmSync(path, { force: true }));
      throw error;
    } finally {
      // A failed fsync leaves the file's state unknown: the descriptor is given up, and the next try writes a new file.
      closeSync(file);
    }
  },
  read: async (path, most) => readRegular(path, most),
  rename: async (from, to) => renameSync(from, to),
  link: async (from, to) => linkSync(from, to),
  unlink: async (path) => unlinkSync(path),
  async mkdir(path, mode = 0o750) {
    const made = mkdirSync(path, { recursive: true, mode });
    if (made === undefined) return;
    for (let at = path; at.length >= made.length; at = dirname(at)) await syncDirectory(dirname(at));
  },
  sync: syncDirectory,
  async *list(directory) {
    try {
      // A pipe, device or link in a spool is no batch, and opening one could hang or lead elsewhere.
      for await (const entry of entriesOf(directory)) if (entry.isFile()) yield entry.name;
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  },
  async stat(path) {
    try {
      const { size, mtimeMs, nlink, ino } = statSync(path);
      return { size, mtimeMs, links: nlink, inode: ino };
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  },
  async overwrite(path, bytes) {
    const file = openSync(path, 'r+');
    try {
      writeAll(file, bytes);
      await synced(file);
    } finally {
      closeSync(file);
    }
  },
  async space(directory) {
    try {
      const { bsize, blocks, bavail, files, ffree } = statfsSync(directory);
      return { bytes: blocks * bsize, freeBytes: bavail * bsize, inodes: files, freeInodes: ffree };
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  },
  async usage(directory, most) {
    const used: Usage = { bytes: 0, files: 0 };
    const directories = [directory];
    for (let at = directories.pop(); at !== undefined; at = directories.pop()) {
      try {
        for await (const entry of entriesOf(at)) {
          const path = join(at, entry.name);
          if (entry.isDirectory()) directories.push(path);
          else addUsage(used, path);
          if (used.bytes > most.bytes || used.files > most.files) return used;
        }
      } catch (error) {
        if (!isMissing(error)) throw error;
      }
    }
    return used;
  },
};

/** Does what is no matter when it fails. */
function attempt(work: () => void): void {
  try {
    work();
  } catch {
    // As said.
  }
}

/** Replaces `path` by a file with these bytes, durably: all of the old or all of the new, whatever happens. */
export async function replace(disk: Disk, path: string, bytes: Uint8Array, mode?: number): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.new`);
  await disk.write(temporary, bytes, mode);
  await disk.rename(temporary, path);
  await disk.sync(dirname(path));
}

/**
 * Makes a file that was not there, whole and durable but for its name (`sync` the directory); false when it is there already. A link, unlike
 * a rename, cannot replace a file that another process has just made.
 */
export async function create(disk: Disk, path: string, bytes: Uint8Array, mode: number): Promise<boolean> {
  if ((await disk.stat(path)) !== undefined) return false;
  const temporary = join(dirname(path), `.${basename(path)}.${randomUUID()}`);
  await disk.write(temporary, bytes, mode);
  try {
    return await unlessDone(disk.link(temporary, path), 'EEXIST');
  } finally {
    await disk.unlink(temporary);
  }
}

/** The file's bytes, or undefined when it is not there. */
export async function readIfThere(disk: Disk, path: string): Promise<Buffer | undefined> {
  try {
    return await disk.read(path);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** Runs a step that a crash may have done before; `done` is the error code that says so. */
export async function unlessDone(step: Promise<void>, done: 'EEXIST' | 'ENOENT'): Promise<boolean> {
  try {
    await step;
    return true;
  } catch (error) {
    if (errorCode(error) === done) return false;
    throw error;
  }
}
