/**
 * What becomes of a run whose receipt had no room either: it is noted in a file that was given its block while there was room, so that the note
 * needs none, and the next receipt tells it.
 */
import { join } from 'node:path';
import { reasonOf } from '../errors.ts';
import { create, type Disk, readIfThere } from '../spool/disk.ts';
import type { Stopped } from './shapes.ts';

export type { Stopped } from './shapes.ts';

const FILE = 'stopped';
/** Length of the file, in bytes: one sector, which a disk writes whole or not at all. */
const LENGTH = 512;
const MAX_REASON = 200;

function padded(note: Stopped | undefined): Buffer {
  return Buffer.from(JSON.stringify(note ?? null).padEnd(LENGTH));
}

/** The note, if there is one. One that cannot be understood is as good as none: the header's `since` still shows the hole. */
export async function readStopped(disk: Disk, directory: string): Promise<Stopped | undefined> {
  const bytes = await readIfThere(disk, join(directory, FILE));
  try {
    const note: unknown = JSON.parse(bytes?.toString() ?? 'null');
    return note === null ? undefined : (await import('./shapes.ts')).stoppedSchema.parse(note);
  } catch {
    return undefined;
  }
}

/** Notes that a run at `time` left no receipt, for this reason. Never throws: there is nobody left to tell. */
export async function noteStopped(
  disk: Disk,
  directory: string,
  time: string,
  error: unknown,
): Promise<void> {
  try {
    const before = await readStopped(disk, directory);
    // Cut so that it fits however its characters are written.
    const reason = reasonOf(error)
      .slice(0, MAX_REASON)
      .replace(/[^ -~]/g, '?');
    const note = { since: before?.since ?? time, last: time, runs: (before?.runs ?? 0) + 1, reason };
    await disk.overwrite(join(directory, FILE), padded(note));
  } catch {
    // The disk takes nothing at all.
  }
}

/** Makes the file while there is room, and empties it of a note that has been told. */
export async function clearStopped(disk: Disk, directory: string): Promise<void> {
  const path = join(directory, FILE);
  if (await create(disk, path, padded(undefined), 0o640)) await disk.sync(directory);
  else await disk.overwrite(path, padded(undefined));
}
