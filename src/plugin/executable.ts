/** Refuses executables that someone else than root or the running user could have changed. */
import { constants, type Stats } from 'node:fs';
import { access, lstat, readlink } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import { DsacError, errorCode } from '../errors.ts';

const MAX_LINKS = 40;

const GROUP_OR_OTHERS_WRITE = 0o022;
const STICKY = 0o1000;

function refuse(path: string, why: string, hint: string): never {
  throw new DsacError('config', `refusing to run ${path}: ${why}`, { hint });
}

function requireOwner(path: string, at: string, { uid }: Stats): void {
  const own = process.geteuid?.() ?? 0;
  if (uid === 0 || uid === own) return;
  const allowed = own === 0 ? 'root' : `root or uid ${own}`;
  refuse(
    path,
    `${at} is owned by uid ${uid}, not by ${allowed}`,
    `chown ${allowed === 'root' ? 'root' : own} ${at}`,
  );
}

function requireUnwritable(path: string, at: string, { mode }: Stats): void {
  if ((mode & GROUP_OR_OTHERS_WRITE) === 0) return;
  const octal = (mode & 0o7777).toString(8).padStart(4, '0');
  refuse(path, `${at} is writable by others than its owner (mode ${octal})`, `chmod go-w ${at}`);
}

async function lstatNamed(path: string, at: string): Promise<Stats> {
  try {
    return await lstat(at);
  } catch (error) {
    const why =
      errorCode(error) === 'ENOENT' ? 'does not exist' : `cannot be looked at (${errorCode(error)})`;
    throw new DsacError('config', `cannot run ${path}: ${at} ${why}`, { cause: error });
  }
}

/** A folder on the way: nobody else may replace what is in it. A sticky one (`/tmp`) will do, since there only a file's owner can. */
function requireSafeFolder(path: string, at: string, stats: Stats): void {
  if (!stats.isDirectory()) throw new DsacError('config', `cannot run ${path}: ${at} is not a folder`);
  requireOwner(path, at, stats);
  if ((stats.mode & STICKY) === 0) requireUnwritable(path, at, stats);
}

/** Walks to the real file, each symbolic link and each folder on the way checked. */
async function walk(path: string): Promise<string> {
  let here = '/';
  let links = 0;
  let todo = path.split('/').filter((part) => part !== '' && part !== '.');
  for (let part = todo.shift(); part !== undefined; part = todo.shift()) {
    const at = part === '..' ? dirname(here) : join(here, part);
    const stats = await lstatNamed(path, at);
    if (stats.isSymbolicLink()) {
      requireOwner(path, at, stats);
      if (++links > MAX_LINKS) throw new DsacError('config', `cannot run ${path}: too many symbolic links`);
      const target = await readlink(at);
      if (isAbsolute(target)) here = '/';
      todo = [...target.split('/').filter((step) => step !== '' && step !== '.'), ...todo];
      continue;
    }
    if (todo.length > 0) requireSafeFolder(path, at, stats);
    here = at;
  }
  return here;
}

/**
 * The real path of an executable that only root or the running user can change: the file and its own folder are writable by nobody
 * else, and neither is any folder above (sticky ones such as `/tmp` excepted). Throws `config` errors that say what to mend.
 */
export async function trustedExecutable(path: string): Promise<string> {
  if (!isAbsolute(path)) throw new DsacError('config', `command: expected an absolute path, found '${path}'`);
  const real = await walk(path);
  const file = await lstatNamed(path, real);
  if (!file.isFile()) throw new DsacError('config', `cannot run ${path}: ${real} is not a file`);
  requireOwner(path, real, file);
  requireUnwritable(path, real, file);
  requireUnwritable(path, dirname(real), await lstatNamed(path, dirname(real)));
  try {
    await access(real, constants.X_OK);
  } catch (error) {
    throw new DsacError('config', `cannot run ${path}: it is not executable`, {
      cause: error,
      hint: `chmod +x ${real}`,
    });
  }
  return real;
}
