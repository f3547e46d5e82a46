/** Files that the configuration names: certificates, and secrets, which stand in files of their own. */
import { readFile } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { DsacError, isForbidden, reasonOf } from '../errors.ts';

/** The text of the file that `key` names; a relative path is below `home`. Throws `config` or `noperm` errors that say which key is wrong. */
export async function readNamed(home: string, path: string, key: string): Promise<string> {
  const full = isAbsolute(path) ? path : join(home, path);
  try {
    return await readFile(full, 'utf8');
  } catch (error) {
    const forbidden = isForbidden(error);
    throw new DsacError(forbidden ? 'noperm' : 'config', `${key}: cannot read ${full}: ${reasonOf(error)}`, {
      cause: error,
      hint: forbidden ? 'the user that DSAC runs as must be able to read it' : undefined,
    });
  }
}

/** The password in a password file: its first line. Undefined when no file is named. */
export async function readPassword(home: string, path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined;
  return (await readNamed(home, path, 'password_file')).split(/\r?\n/, 1)[0];
}
