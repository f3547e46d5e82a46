/** Reads the files that accounts and groups of a machine are in; refuses those that cannot be whole. */
import { errorCode } from '../../errors.ts';
import type { System } from '../../host/system.ts';
import type { Log } from '../../log.ts';
import type { AccountFiles } from './account-items.ts';
import { type Entries, isNisName, isShadowed, parseGroup, parsePasswd, parseShadow } from './accounts.ts';

const PASSWD = '/etc/passwd';
const GROUP = '/etc/group';
const SHADOW = '/etc/shadow';
/** All that accounts are read from. */
export const ACCOUNT_FILES: readonly string[] = [PASSWD, GROUP, SHADOW];

interface Reader {
  readonly system: System;
  readonly log: Log;
}

/** The entries of a file, or undefined when it is not there. Lines that are no entry are counted, never shown: they may hold a hash. */
async function entriesIn<T>(
  { system, log }: Reader,
  path: string,
  parse: (bytes: Buffer) => Entries<T>,
): Promise<readonly T[] | undefined> {
  const bytes = await system.read(path);
  if (bytes === undefined) return undefined;
  const { entries, skipped } = parse(bytes);
  if (skipped > 0) log.warn({ path, skipped }, 'lines that are no entry were passed over, as glibc does');
  return entries;
}

/** The entries of shadow, or undefined where there is none or this user may not read it. */
async function shadowEntries(reader: Reader): Promise<AccountFiles['shadow']> {
  const path = SHADOW;
  try {
    return await entriesIn(reader, path, parseShadow);
  } catch (error) {
    if (errorCode(error) !== 'EACCES') throw error;
    reader.log.warn({ path }, 'not readable by this user: nothing about passwords or expiry');
    return undefined;
  }
}

/** A file without any entry was cut, or is being written: it must not look as if every account had gone. */
function refuseEmpty(path: string, entries: readonly { readonly name: string }[] | undefined): void {
  if (entries?.every(({ name }) => isNisName(name)))
    throw new Error(`${path}: no entry in it, expected one at least; look whether it was cut or overwritten`);
}

/** Passwd, group and shadow of the machine, or undefined when it has no passwd. Throws when one of them is there but cannot be whole. */
export async function readAccountFiles(reader: Reader): Promise<AccountFiles | undefined> {
  const passwd = await entriesIn(reader, PASSWD, parsePasswd);
  if (passwd === undefined) return undefined;
  const group = await entriesIn(reader, GROUP, parseGroup);
  const shadow = await shadowEntries(reader);
  refuseEmpty(PASSWD, passwd);
  refuseEmpty(GROUP, group);
  if (passwd.some(({ secret }) => isShadowed(secret))) refuseEmpty(SHADOW, shadow);
  return { passwd, group: group ?? [], shadow };
}
