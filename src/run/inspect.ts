/** Looks into a spool for a person: what lies where, since when, and why. */
import { existsSync, statSync } from 'node:fs';
import { basename, isAbsolute, join, relative } from 'node:path';
import { DsacError, isMissing, reasonOf } from '../errors.ts';
import type { Decoded } from '../spool/decode.ts';
import { isShown } from '../spool/names.ts';
import { HANDLER_STATES, PLAIN_STATES, type Spool, type SpoolFile } from '../spool/spool.ts';
import { readWhy } from '../spool/why.ts';
import { badEvent } from './verify/read.ts';

const PATTERNS =
  "patterns are names or paths below the spool, such as 'packages.*', 'queue/broker/*' or 'corrupt'";

/** A file of a spool as `ls` shows it. */
export interface Listed {
  readonly file: SpoolFile;
  /** `queue/broker`, `new`, … */
  readonly where: string;
  readonly bytes: number;
  /** When the file was written, in ms since 1970. */
  readonly writtenMs: number;
  /** Of the first batch; undefined when the file is damaged. */
  readonly first:
    | { readonly host: string; readonly agent: string; readonly kind: string; readonly seq: number }
    | undefined;
  readonly batches: number;
  readonly events: number;
  /** Why it is in `failed`, `hold` or `corrupt`, or what is wrong with it. */
  readonly reason: string | undefined;
}

/** `queue/broker` for a file in broker's queue, `new` for one that is not yet routed. */
export function whereOf(file: SpoolFile): string {
  return file.handler === undefined ? file.state : `${file.state}/${file.handler}`;
}

function toSpoolFile(root: string, relative: string): SpoolFile | undefined {
  const parts = relative.split('/');
  const state = parts[0] as SpoolFile['state'];
  const perHandler = (HANDLER_STATES as readonly string[]).includes(state);
  if (parts.length !== (perHandler ? 3 : 2) || !isShown(state, basename(relative))) return undefined;
  const place = perHandler ? { handler: parts[1]! } : {};
  return { state, ...place, name: basename(relative), path: join(root, relative) };
}

/** A pattern as a path below the spool, whether it was given so or as an absolute path. Throws `usage` when it leads out of the spool. */
function belowSpool(spool: Spool, pattern: string): string {
  const below = isAbsolute(pattern) ? relative(spool.root, pattern) : pattern;
  if (below.split('/').includes('..'))
    throw new DsacError('usage', `'${pattern}' is not in the spool ${spool.root}`, { hint: PATTERNS });
  return below;
}

/** What a person may mean by a pattern: a path below the spool, a directory, or a name in any directory. */
function meanings(spool: Spool, pattern: string, escapePath: (path: string) => string): string[] {
  // A file has nothing below it, and the search would end there with ENOTDIR.
  if (statSync(join(spool.root, pattern), { throwIfNoEntry: false })?.isFile()) return [escapePath(pattern)];
  return pattern.includes('/') ? [pattern, `${pattern}/**`] : [`${pattern}/**`, `**/${pattern}`];
}

/** Whether a pattern names a directory of the spool, which may well be empty. */
function isPlace(spool: Spool, pattern: string): boolean {
  const [state, handler, ...rest] = pattern.split('/');
  if (handler === undefined) return [...PLAIN_STATES, ...HANDLER_STATES].some((one) => one === state);
  return rest.length === 0 && existsSync(join(spool.root, pattern));
}

/**
 * The files that match any of the glob patterns (`queue/broker/*`, `corrupt`, `packages.*`), or all when there are none, in order of
 * where and name. A pattern is taken from the spool's root. Throws `usage` when a pattern matches nothing.
 */
export async function findFiles(spool: Spool, patterns: readonly string[]): Promise<SpoolFile[]> {
  const { default: glob } = await import('fast-glob');
  const found = new Map<string, SpoolFile>();
  for (const given of patterns.length > 0 ? patterns : ['**']) {
    const pattern = belowSpool(spool, given);
    const names = await glob(meanings(spool, pattern, glob.escapePath), {
      cwd: spool.root,
      ignore: ['tmp/**', '**/*.why.json'],
      onlyFiles: true,
      suppressErrors: false,
    });
    const files = names.flatMap((name) => toSpoolFile(spool.root, name) ?? []);
    if (files.length === 0 && patterns.length > 0 && !isPlace(spool, pattern)) {
      throw new DsacError('usage', `nothing in ${spool.root} matches '${given}'`, {
        hint: PATTERNS,
      });
    }
    for (const file of files) found.set(file.path, file);
  }
  return [...found.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** What a file holds; undefined when it is gone: other commands go on with their work meanwhile. */
export async function openThere(spool: Spool, { path }: SpoolFile): Promise<Decoded[] | undefined> {
  try {
    return await spool.open(path);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** Opens one file as far as `ls` needs it; undefined when it is gone. */
export async function inspect(spool: Spool, file: SpoolFile): Promise<Listed | undefined> {
  const stat = await spool.disk.stat(file.path);
  if (stat === undefined) return undefined;
  const base = { file, where: whereOf(file), bytes: stat.size, writtenMs: stat.mtimeMs };
  const why = await readWhy(spool.disk, spool.directory(file.state, file.handler), file.name);
  try {
    const decoded = await openThere(spool, file);
    if (decoded === undefined) return undefined;
    const batches = decoded.flatMap(({ batch }) => batch ?? []);
    const damage = decoded.find((one) => one.damage)?.damage?.reason;
    const header = batches[0]?.header;
    return {
      ...base,
      first: header && { host: header.host, agent: header.agent, kind: header.kind, seq: header.seq },
      batches: batches.length,
      events: batches.reduce((sum, batch) => sum + batch.trailer.count, 0),
      reason: why?.reason ?? damage,
    };
  } catch (error) {
    return { ...base, first: undefined, batches: 0, events: 0, reason: reasonOf(error) };
  }
}

/** What is wrong with a file: damage, or events that break the format; empty when it is sound, undefined when it is gone. */
export async function faults(spool: Spool, file: SpoolFile): Promise<string[] | undefined> {
  const decoded = await openThere(spool, file);
  if (decoded === undefined) return undefined;
  const found: string[] = [];
  for (const { batch, damage } of decoded) {
    if (damage) found.push(`at byte ${damage.offset}: ${damage.reason}`);
    else {
      const bad = badEvent(batch);
      if (bad !== undefined) found.push(`batch ${batch.header.seq} of ${batch.header.agent}: ${bad}`);
    }
  }
  return found;
}

/** How much lies in one state or handler's share of it. */
export interface Share {
  readonly where: string;
  files: number;
  bytes: number;
  /** When the oldest file was written, in ms since 1970. */
  oldestMs: number | undefined;
}

/** Counts every directory of a spool, empty ones included. */
export async function shares(spool: Spool): Promise<Share[]> {
  const counted = new Map<string, Share>();
  const share = (where: string): Share => {
    const known = counted.get(where) ?? { where, files: 0, bytes: 0, oldestMs: undefined };
    counted.set(where, known);
    return known;
  };
  for (const state of ['new', 'hold', 'corrupt']) share(state);
  for (const state of HANDLER_STATES)
    for (const handler of await spool.handlers(state)) share(`${state}/${handler}`);
  for await (const file of spool.everything()) {
    const stat = await spool.disk.stat(file.path);
    if (!stat) continue;
    const one = share(whereOf(file));
    one.files++;
    one.bytes += stat.size;
    one.oldestMs = Math.min(one.oldestMs ?? stat.mtimeMs, stat.mtimeMs);
  }
  return [...counted.values()].sort((a, b) => (a.where < b.where ? -1 : 1));
}
