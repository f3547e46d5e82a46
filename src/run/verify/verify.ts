/** `dsac verify`: everything that is evidence, against everything that it can be held against (docs/security.md). Reads only. */
import { type Dirent, existsSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { basename, join, relative } from 'node:path';
import type { Paths } from '../../config/paths.ts';
import { DsacError, isMissing, isUnreadable, reasonOf } from '../../errors.ts';
import { KnownNodes } from '../../evidence/known-nodes.ts';
import { headOf } from '../../spool/batch.ts';
import { SIGHTINGS } from '../../spool/leftovers.ts';
import { isBatchFile } from '../../spool/names.ts';
import { Spool } from '../../spool/spool.ts';
import type { Store } from '../../store/store.ts';
import { headsFolder, trustFolder } from '../gate.ts';
import { checkChains } from './chains.ts';
import {
  type Centre,
  checkRevoked,
  checkTaken,
  checkUncountersigned,
  type HeadsEnd,
  HeadsReader,
  type Noted,
} from './countersigned.ts';
import type { Finding, Tell } from './findings.ts';
import { checkIndex } from './index-file.ts';
import { Ledger } from './ledger.ts';
import { type BatchFile, readInto } from './read.ts';

/** An archive that is checked as a whole. `expects`: whether batches of an agent are kept there. */
export interface ArchiveTask {
  readonly root: string;
  readonly expects: (agent: string) => boolean;
}

export interface Verification {
  readonly paths: Paths;
  /** The archive to check as a whole, with all that vouches for it; or undefined, to check only `files`. */
  readonly archive?: ArchiveTask | undefined;
  /** Batch files and folders of them to check for themselves. */
  readonly files: readonly string[];
  /** The centre's own identity; undefined where it is not here. */
  readonly centre: Centre | undefined;
  /** The store to hold against the archive, and which agents' batches it holds. */
  readonly store?:
    | { readonly open: () => Promise<Store>; readonly expects: (agent: string) => boolean }
    | undefined;
  /** Records of the log of heads that were noted down: they must be there. */
  readonly noted?: readonly Noted[] | undefined;
  readonly signal: AbortSignal;
  /** Hears how far it has come, in bytes of stored files. */
  readonly progress?: (done: number, total: number) => void;
}

/** What a verification amounts to. `notes`: what could not be checked, and why. */
export interface Verified {
  readonly files: number;
  readonly batches: number;
  readonly nodes: number;
  /** Times of the first and the last batch by their nodes' clocks; undefined when there is none. */
  readonly from: string | undefined;
  readonly to: string | undefined;
  readonly findings: number;
  readonly counts: readonly { readonly kind: string; readonly count: number }[];
  readonly heads: HeadsEnd | undefined;
  readonly notes: readonly string[];
}

/** Where files are that nobody checks: half-written ones, and those of a spool that are known to be damaged. */
const LEFT_OUT = new Set(['tmp', 'corrupt']);

async function entriesOf(folder: string, tell: Tell): Promise<Dirent[]> {
  try {
    return (await readdir(folder, { withFileTypes: true })).sort((a, b) => (a.name < b.name ? -1 : 1));
  } catch (error) {
    if (isMissing(error)) return [];
    tell({ kind: 'unreadable', message: reasonOf(error), file: folder });
    return [];
  }
}

/** Batch files below a folder, in order of their paths; folder by folder, so that only one folder's names are in memory. */
async function* filesBelow(root: string, tell: Tell, at = root): AsyncGenerator<string> {
  for (const entry of await entriesOf(at, tell)) {
    const path = join(at, entry.name);
    if (entry.isDirectory()) {
      if (!(at === root && LEFT_OUT.has(entry.name))) yield* filesBelow(root, tell, path);
    } else if (isBatchFile(entry.name)) yield path;
    else if (!isOurs(entry.name))
      tell({ kind: 'unreadable', message: 'not a batch file, and nothing of DSAC’s', file: path });
  }
}

/** What lies beside batch files: the index and its journal, what half-written files were seen, reasons, half-written files. */
function isOurs(name: string): boolean {
  return (
    name === SIGHTINGS || name.startsWith('index.db') || name.endsWith('.why.json') || name.startsWith('.')
  );
}

async function* batchFiles(given: string, tell: Tell): AsyncGenerator<BatchFile> {
  const top = await stat(given).catch((error: unknown) => {
    throw new DsacError('usage', `cannot verify ${given}: ${reasonOf(error)}`, { cause: error });
  });
  if (!top.isDirectory()) {
    yield { path: given, name: basename(given), label: given, size: top.size };
    return;
  }
  for await (const path of filesBelow(given, tell)) {
    const { size } = await stat(path);
    yield { path, name: relative(given, path), label: path, size };
  }
}

async function totalSize(roots: readonly string[]): Promise<number> {
  let total = 0;
  for (const root of roots) for await (const { size } of batchFiles(root, () => {})) total += size;
  return total;
}

/** Notes the batches that lie in the central spool: they are on their way, not missing. What is whole in `corrupt` has gone on beside what is damaged there. */
async function noteWaiting(ledger: Ledger, root: string): Promise<void> {
  const spool = new Spool(root);
  for await (const file of spool.everything()) {
    if (file.state === 'corrupt') continue;
    try {
      for (const { batch } of await spool.open(file.path)) if (batch) ledger.waits(headOf(batch));
    } catch (error) {
      if (!isMissing(error) && !isUnreadable(error)) throw error;
    }
  }
}

function summarize(ledger: Ledger): Pick<Verified, 'files' | 'batches' | 'nodes' | 'from' | 'to'> {
  const row = ledger.db
    .prepare(
      `select count(*) as batches, min(time) as first, max(time) as last, count(distinct node) as nodes, (select count(*) from files) as files
       from batches b join streams s on s.id = b.stream`,
    )
    .get()!;
  const { batches, first, last, nodes, files } = row;
  return {
    files: Number(files),
    batches: Number(batches),
    nodes: Number(nodes),
    from: first === null ? undefined : String(first),
    to: last === null ? undefined : String(last),
  };
}

/** The known keys; undefined, with a note, where there are none or the file has mistakes. */
async function knownKeys(paths: Paths, notes: string[]): Promise<KnownNodes | undefined> {
  const known = await KnownNodes.read(trustFolder(paths));
  if (!known.isEmpty) return known;
  notes.push(`keys were not held against any: ${known.path} names none`);
  return undefined;
}

/** Reads all files, telling how far it is. */
async function readAll(
  task: Verification,
  roots: readonly string[],
  ledger: Ledger,
  known: KnownNodes | undefined,
): Promise<void> {
  const contentOf = task.store ? (await import('./store.ts')).contentOf : undefined;
  const total = task.progress ? await totalSize(roots) : 0;
  const tell: Tell = (finding) => ledger.tell(finding);
  let done = 0;
  for (const root of roots) {
    for await (const file of batchFiles(root, tell)) {
      task.signal.throwIfAborted();
      await readInto(ledger, file, { known, contentOf });
      done += file.size;
      task.progress?.(done, total);
    }
  }
}

/** The order of the steps bears on what is on its way meanwhile: heads, spool, archive, what heads came since, spool, store. */
async function work(task: Verification, ledger: Ledger, notes: string[]): Promise<HeadsEnd | undefined> {
  const { paths, archive, centre } = task;
  const known = await knownKeys(paths, notes);
  const heads = new HeadsReader(headsFolder(paths), ledger, task.noted);
  await heads.read();
  const read = ledger.headsSoFar;
  if (archive) await noteWaiting(ledger, paths.in);
  await readAll(task, archive ? [archive.root] : task.files, ledger, known);
  await heads.read();
  heads.checkEnd();
  heads.checkNoted();
  ledger.arrange();
  checkChains(ledger, known, archive !== undefined);
  if (known) checkRevoked(ledger, known);
  if (heads.end) {
    checkTaken(ledger, archive?.expects ?? (() => false), read);
    if (archive) checkUncountersigned(ledger);
    if (centre) heads.checkKey(centre);
    else notes.push(`the key of this centre is not here: compare ${heads.end.key} with what you know of it`);
  } else if (archive)
    ledger.tell({
      kind: 'heads',
      message: 'there is no log of countersigned heads',
      file: headsFolder(paths),
    });
  if (archive && !checkIndex(ledger, archive.root))
    notes.push(
      'the archive has no index.db: whether each file is as it was written was not checked, only what is in them',
    );
  if (task.store) await withStore(task.store, ledger, paths);
  return heads.end;
}

async function withStore(
  { open, expects }: NonNullable<Verification['store']>,
  ledger: Ledger,
  paths: Paths,
): Promise<void> {
  await noteWaiting(ledger, paths.in);
  const { checkStore } = await import('./store.ts');
  const store = await open();
  try {
    await checkStore(ledger, store, expects);
  } finally {
    await store.close();
  }
}

/** Checks all of it. `tell` gets each finding once everything is read, in order: what is wrong in files first. */
export async function verifyEvidence(
  task: Verification,
  tell: (finding: Finding) => Promise<void> | void,
): Promise<Verified> {
  if (task.archive && !existsSync(task.archive.root))
    throw new DsacError('config', `there is no archive at ${task.archive.root}`, {
      hint: 'run dsac process first, or name what to verify: dsac verify PATH…',
    });
  const ledger = new Ledger();
  const notes: string[] = [];
  try {
    const heads = await work(task, ledger, notes);
    const counts = ledger.counts();
    for (const finding of ledger.findings()) await tell(finding);
    return {
      ...summarize(ledger),
      findings: counts.reduce((sum, { count }) => sum + count, 0),
      counts,
      heads,
      notes,
    };
  } finally {
    ledger.close();
  }
}
