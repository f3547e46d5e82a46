/** Runs journalctl for the entries that the `logins` agent reads, and finds out where a machine's journal is. */

import type { System } from '../../host/system.ts';
import { entryCursor, journalMatches, parseEntry } from './journal.ts';

const PERSISTENT = '/var/log/journal';
const VOLATILE = '/run/log/journal';
/** journald's socket: without it nobody writes to the journal that may still lie there. */
const SOCKET = '/run/systemd/journal/socket';

/** What tells where a machine's journal is. */
export const JOURNAL_FILES: readonly string[] = [
  `${PERSISTENT}/**`,
  `${VOLATILE}/**`,
  '/etc/machine-id',
  SOCKET,
];

/** Where a machine's journal is kept, or why it cannot be read. */
export type JournalPlace =
  | { readonly kept: 'on disk' | 'in memory'; readonly missing?: never; readonly restsOnFiles?: never }
  | {
      readonly kept?: never;
      readonly missing: string;
      /** Whether it is missing as far as JOURNAL_FILES tell. */
      readonly restsOnFiles: boolean;
    };

async function hasFiles(system: System, folder: string): Promise<boolean> {
  // a running machine shows only the journal of its own machine id
  const own = system.live ? (await system.read('/etc/machine-id'))?.toString('latin1').trim() : undefined;
  for (const machine of own === undefined ? ((await system.list(folder)) ?? []) : [own]) {
    const files = (await system.list(`${folder}/${machine}`)) ?? [];
    if (files.some((name) => /\.journal~?$/.test(name))) return true;
  }
  return false;
}

/** Finds the journal of the machine looked at. */
export async function findJournal(system: System): Promise<JournalPlace> {
  const isOnDisk = await hasFiles(system, PERSISTENT);
  if (!isOnDisk && !(system.live && (await hasFiles(system, VOLATILE))))
    return {
      missing: `no journal files in ${PERSISTENT}${system.live ? ` or ${VOLATILE}` : ''}`,
      restsOnFiles: true,
    };
  if ((await system.which('journalctl')) === undefined)
    return { missing: 'there are journal files, but no journalctl to read them', restsOnFiles: false };
  if (system.live && (await system.stat(SOCKET)) === undefined)
    return {
      missing: `there are journal files, but journald does not run (no ${SOCKET})`,
      restsOnFiles: true,
    };
  return { kept: isOnDisk ? 'on disk' : 'in memory' };
}

export type JournalStep = { readonly line: Buffer; readonly lost?: never } | { readonly lost: string };

/** Where a reader stands in the journal. */
export interface JournalPosition {
  /** journald's cursor of the last entry that was read. */
  readonly after?: string | undefined;
  /** That of the newest entry that there was then, of whatever program: all up to it are done with. */
  readonly seen?: string | undefined;
}

function optionsFor(system: System): Promise<string[]> {
  const plain = ['--output=json', '--all', '--quiet', '--no-pager'];
  return system.live
    ? Promise.resolve(plain)
    : system.path(PERSISTENT).then((path) => [...plain, `--directory=${path}`]);
}

/** The cursor of the newest entry there is, of whatever program; undefined when there is none. */
export async function newestEntry(system: System, signal: AbortSignal): Promise<string | undefined> {
  let newest: string | undefined;
  const args = [...(await optionsFor(system)), '--lines=1'];
  for await (const line of system.lines('journalctl', args, { signal }))
    newest = entryCursor(parseEntry(line) ?? {}) ?? newest;
  return newest;
}

async function isThere(system: System, cursor: string, signal: AbortSignal): Promise<boolean> {
  const args = [...(await optionsFor(system)), `--cursor=${cursor}`];
  for await (const line of system.lines('journalctl', args, { signal }))
    return entryCursor(parseEntry(line) ?? {}) === cursor;
  return false;
}

/**
 * The lines of `journalctl -o json` behind a position; all there is without one. journalctl goes silently to the nearest entry when that one is
 * gone, so it is asked for the entry itself first: when another comes, or none, entries between may have been lost, and that is said. It is the
 * newest entry of all that is asked for: that of a login of long ago goes with the journal's ordinary rotation.
 */
export async function* readJournal(
  system: System,
  { after, seen }: JournalPosition,
  signal: AbortSignal,
): AsyncGenerator<JournalStep> {
  const from = seen ?? after;
  if (seen !== undefined && !(await isThere(system, seen, signal)))
    yield {
      lost: 'the newest entry at the last look is gone from the journal: entries behind it may be gone too',
    };
  const place = from === undefined ? [] : [`--cursor=${from}`];
  let expected = seen === undefined ? after : undefined;
  for await (const line of system.lines(
    'journalctl',
    [...(await optionsFor(system)), ...place, ...journalMatches],
    { signal },
  )) {
    const found = entryCursor(parseEntry(line) ?? {});
    if (found !== undefined && (found === from || found === after)) {
      expected = undefined;
      continue;
    }
    if (expected !== undefined) {
      expected = undefined;
      yield {
        lost: 'the entry that had been read last is gone from the journal: entries behind it may be gone too',
      };
    }
    yield { line };
  }
  if (expected !== undefined)
    yield { lost: 'the journal holds neither the entry that had been read last nor any behind it' };
}
