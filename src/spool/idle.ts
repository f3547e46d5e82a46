import { type Dirent, opendirSync } from 'node:fs';
import { join } from 'node:path';
import { isMissing } from '../errors.ts';

/** The first entry of a directory that `holds`; undefined when none does. */
function first(directory: string, holds: (entry: Dirent) => boolean): Dirent | undefined {
  const entries = opendirSync(directory);
  try {
    for (let entry = entries.readSync(); entry !== null; entry = entries.readSync())
      if (holds(entry)) return entry;
    return undefined;
  } finally {
    entries.closeSync();
  }
}

const any = (): boolean => true;

/**
 * Whether there is nothing at all to do in the spool at `root`: nothing new, nothing queued, nothing half-written. Told from a handful of directories,
 * since cron asks every minute on every node. Where one of them is missing, there is something to do.
 */
export function isIdle(root: string): boolean {
  try {
    if (first(join(root, 'new'), any) ?? first(join(root, 'tmp'), any)) return false;
    const queue = join(root, 'queue');
    return first(queue, ({ name }) => first(join(queue, name), any) !== undefined) === undefined;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}
