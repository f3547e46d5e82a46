import { errorCode } from '../errors.ts';

const CODES = new Set([
  'ENOSPC',
  'EDQUOT',
  'EROFS',
  'EIO',
  'EACCES',
  'EPERM',
  'ENOENT',
  'ENOTDIR',
  'ESTALE',
  'EMFILE',
]);
/** SQLite's codes for a database file that is read-only, fails, is full or cannot be opened (https://www.sqlite.org/rescode.html). */
const SQLITE_CODES = new Set([8, 10, 13, 14]);

/** Whether the file system, not the one batch that met the error, is the trouble: every other batch would fail alike. */
export function isFileTrouble(error: unknown): boolean {
  if (error instanceof Error && 'errcode' in error) return SQLITE_CODES.has(Number(error.errcode) & 0xff);
  return CODES.has(errorCode(error) ?? '');
}
