/**
 * Locks between processes, held by the kernel and freed by it when the holder dies. Node has no flock(2); SQLite's exclusive
 * transaction takes a POSIX record lock on the file and writes nothing.
 */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

/** SQLITE_BUSY, https://www.sqlite.org/rescode.html#busy */
const BUSY = 5;

export interface Lock extends Disposable {
  release(): void;
}

/**
 * Takes the lock that `path` stands for, waiting at most `waitMs`. Undefined when another process (or this one) has it.
 * The file stays; only the lock on it goes.
 */
export function takeLock(path: string, waitMs = 0): Lock | undefined {
  mkdirSync(dirname(path), { recursive: true, mode: 0o750 });
  const database = new DatabaseSync(path, { timeout: waitMs });
  try {
    database.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    if (error instanceof Error && 'errcode' in error && error.errcode === BUSY) return undefined;
    throw error;
  }
  const release = (): void => {
    if (database.isOpen) database.close();
  };
  return { release, [Symbol.dispose]: release };
}
