/**
 * Locks between processes, held by the kernel and freed by it when the holder dies. Node has no flock(2); SQLite's exclusive
 * transaction takes a POSIX record lock on the file and, with its journal in memory, writes nothing: a full disk does not keep a lock from
 * being taken.
 */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { DsacError, reasonOf } from './errors.ts';

/** SQLITE_BUSY, https://www.sqlite.org/rescode.html#busy */
const BUSY = 5;

export interface Lock extends Disposable {
  release(): void;
}

function noLock(path: string, error: unknown): DsacError {
  return new DsacError('io', `cannot lock ${path}: ${reasonOf(error)}`, {
    cause: error,
    hint: 'is it a file of DSAC that this user may write? what it holds does not matter: it may be removed while no command runs',
  });
}

function openLockFile(path: string, waitMs: number): DatabaseSync {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o750 });
    return new DatabaseSync(path, { timeout: waitMs });
  } catch (error) {
    throw noLock(path, error);
  }
}

/**
 * Takes the lock that `path` stands for, waiting at most `waitMs`. Undefined when another process (or this one) has it.
 * The file stays; only the lock on it goes. Throws an `io` error when the file cannot be locked at all.
 */
export function takeLock(path: string, waitMs = 0): Lock | undefined {
  const database = openLockFile(path, waitMs);
  try {
    database.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    if (error instanceof Error && 'errcode' in error && error.errcode === BUSY) return undefined;
    throw noLock(path, error);
  }
  const release = (): void => {
    if (database.isOpen) database.close();
  };
  return { release, [Symbol.dispose]: release };
}
