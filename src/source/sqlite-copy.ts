/**
 * Reads an SQLite database of the system looked at without writing beside it: a database in WAL mode makes even a reader create files. So the database
 * and what belongs to it (write-ahead log, rollback journal) are copied, and the copy is read.
 */
import { copyFile, mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { isMissing } from '../errors.ts';
import type { System } from '../host/system.ts';

const PARTS = ['', '-wal', '-journal'];
const ATTEMPTS = 5;

/** What would change if a writer were at work: size and time of every part. */
async function fingerprint(path: string): Promise<string> {
  const stats = await Promise.all(PARTS.map((part) => stat(path + part).catch(() => undefined)));
  return stats.map((part) => (part === undefined ? '-' : `${part.size}/${part.mtimeMs}`)).join(' ');
}

async function copyParts(path: string, target: string): Promise<void> {
  for (const part of PARTS) {
    await rm(target + part, { force: true });
    await copyFile(path + part, target + part).catch((error: unknown) => {
      if (part === '' || !isMissing(error)) throw error;
    });
  }
}

async function copyQuiet(path: string, target: string): Promise<void> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const before = await fingerprint(path);
    await copyParts(path, target);
    if ((await fingerprint(path)) === before) return;
  }
  throw new Error(`${path} was written to during each of ${ATTEMPTS} attempts to copy it`);
}

/** Runs `use` over a copy of the database at `path` of the system; the copy is gone afterwards. */
export async function withDatabase<T>(
  system: System,
  path: string,
  use: (database: DatabaseSync) => T,
): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'dsac-sqlite-'));
  try {
    const copy = join(folder, 'copy.sqlite');
    await copyQuiet(await system.path(path), copy);
    const { DatabaseSync } = await import('node:sqlite');
    const database = new DatabaseSync(copy);
    try {
      return use(database);
    } finally {
      database.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
