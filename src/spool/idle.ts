import { type Dirent, opendirSync } from 'node:fs';
import { join } from 'node:path';
import { isForbidden, isMissing } from '../errors.ts';

/** Whether a directory has an entry for which `holds` does; looks no further than that. */
function has(directory: string, holds: (entry: Dirent) => boolean): boolean {
  const entries = opendirSync(directory);
  try {
    for (let entry = entries.readSync(); entry !== null; entry = entries.readSync())
      if (holds(entry)) return true;
    return false;
  } finally {
    entries.closeSync();
  }
}

const any = (): boolean => true;

/**
 * Whether there is nothing at all to do in the spool at `root`: nothing new, nothing queued, nothing half-written. Told from a handful of directories,
 * since cron asks every minute on every node. Where one of them is missing or may not be looked into, there is something to do, which says what is wrong.
 */
export function isIdle(root: string): boolean {
  try {
    const queue = join(root, 'queue');
    return !(
      has(join(root, 'new'), any) ||
      has(join(root, 'tmp'), any) ||
      has(queue, ({ name }) => has(join(queue, name), any))
    );
  } catch (error) {
    if (isMissing(error) || isForbidden(error)) return false;
    throw error;
  }
}
