/** Moving and linking files between a spool's directories: nothing is overwritten, and each step may be repeated after a crash. */
import { basename, join } from 'node:path';
import { errorCode, isUnreadable } from '../errors.ts';
import { type Disk, NO_FILE, readIfThere, unlessDone } from './disk.ts';

/** `name`, then with a number before its ending, without end: for what must stand beside another file of that name. */
function* candidates(name: string): Generator<string> {
  const dot = name.includes('.jsonl') ? name.indexOf('.jsonl') : name.length;
  for (let n = 1; ; n++) yield n === 1 ? name : `${name.slice(0, dot)}~${n}${name.slice(dot)}`;
}

/** What reading says of a directory, pipe or device, of a socket, and of a link to itself. */
const NO_FILES = new Set([NO_FILE, 'ENXIO', 'ELOOP']);

/** The bytes under a name; undefined when nothing has it, and `other` when what has it cannot be read: no file, or another user's. */
async function readTaken(disk: Disk, path: string): Promise<Buffer | 'other' | undefined> {
  try {
    return await readIfThere(disk, path);
  } catch (error) {
    if (NO_FILES.has(errorCode(error) ?? '') || isUnreadable(error)) return 'other';
    throw error;
  }
}

/**
 * Moves a file to `name` in a directory. Where the same bytes have that name already they are one file; other bytes (a fork of the
 * stream) are kept beside it. Answers the name that it has now; undefined when there was nothing to move.
 */
export async function moveFile(
  disk: Disk,
  from: string,
  directory: string,
  name: string,
): Promise<string | undefined> {
  for (const candidate of candidates(name)) {
    const target = join(directory, candidate);
    const there = await readTaken(disk, target);
    if (there === 'other') continue;
    if (there === undefined)
      return (await unlessDone(disk.rename(from, target), 'ENOENT')) ? candidate : undefined;
    const bytes = await readIfThere(disk, from);
    if (bytes === undefined) return undefined;
    if (!there.equals(bytes)) continue;
    // Not renamed: rename(2) leaves both names when they are links to one file.
    await unlessDone(disk.unlink(from), 'ENOENT');
    return candidate;
  }
  return undefined;
}

/** Links a file into a directory as `moveFile` moves one. Answers the name that it was given; undefined when these bytes had one there already. */
export async function linkFile(disk: Disk, from: string, directory: string): Promise<string | undefined> {
  for (const candidate of candidates(basename(from))) {
    const target = join(directory, candidate);
    if (await unlessDone(disk.link(from, target), 'EEXIST')) return candidate;
    const [there, bytes] = [await readTaken(disk, target), await disk.read(from)];
    if (there !== 'other' && there?.equals(bytes)) return undefined;
  }
  return undefined;
}

/** `name`, or `name` with a number before its ending when another file has it: nothing set aside is ever overwritten. */
export async function freeName(disk: Disk, directory: string, name: string): Promise<string> {
  for (const candidate of candidates(name))
    if ((await disk.stat(join(directory, candidate))) === undefined) return candidate;
  return name;
}

/** The path of the file in a directory that has these bytes under `name`, or beside a file of that name; undefined when there is none. */
export async function sameFile(
  disk: Disk,
  directory: string,
  name: string,
  bytes: Uint8Array,
): Promise<string | undefined> {
  for (const candidate of candidates(name)) {
    const there = await readTaken(disk, join(directory, candidate));
    if (there === undefined) return undefined;
    if (there !== 'other' && there.equals(bytes)) return join(directory, candidate);
  }
  return undefined;
}
