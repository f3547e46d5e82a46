/** Routing: gives what is new in a spool to the handlers that want it, and sets aside what is damaged, strange or cannot be read. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { errorCode, isMissing, isUnreadable, reasonOf } from '../errors.ts';
import { type Batch, type Head, headOf } from './batch.ts';
import { type Decoded, damageReason } from './decode.ts';
import { unlessDone } from './disk.ts';
import { linkFile, moveFile } from './moves.ts';
import { batchFile, byName, isBatchFile } from './names.ts';
import { badSignatures } from './signature.ts';
import type { Spool, SpoolFile } from './spool.ts';

/** Names are read from `new` in windows of this many, sorted: a stream's batches go on in its order where they came together. Some megabytes. */
const WINDOW = 16_384;
/** Files that leave `new` together, after one sync of the queues that they went to, and the most batches and bytes in them. */
const GROUP = 256;
const GROUP_BATCHES = 4096;
const GROUP_BYTES = 8 * 1024 * 1024;

/** A handler's name and which agents it wants. */
export interface Interest {
  readonly handler: string;
  wants(agent: string): boolean;
}

/** Why a batch must not go on: for good (`corrupt`), or until a person lets it (`hold`). */
export interface Objection {
  readonly to: 'hold' | 'corrupt';
  readonly reason: string;
}

/** What decides at the door of a spool which batches go on to its handlers. */
export interface Gate {
  /** Why a batch must not go on; undefined lets it pass. */
  objection(batch: Batch): Promise<Objection | undefined>;
  /** Records batches that go on. Once it resolves the record is durable; no handler sees them before. */
  admit(heads: readonly Head[]): Promise<void>;
}

/** What one pass of routing did, in files. */
export interface Routed {
  routed: number;
  /** Files that no handler wants: they stay in `new`. */
  unwanted: number;
  corrupt: number;
  /** Files that cannot be read, put on hold. */
  unreadable: number;
  /** Batches that the gate objected to for good: quarantined. Absent where there was none. */
  forged?: number;
  /** Batches that the gate put on hold. Absent where there was none. */
  strange?: number;
}

export interface RouteOptions {
  /** No further file is looked at once it aborts. */
  readonly signal?: AbortSignal | undefined;
  readonly gate?: Gate | undefined;
  /** Does the step that links some files into their queues, for who wants to know of it. */
  readonly handOn?: (step: () => Promise<void>) => Promise<void>;
  /** Told which name a file was given in a handler's queue, and the batches in it, for who would read it next. */
  readonly handed?: (handler: string, name: string, batches: readonly Batch[]) => void;
  /** `verified`: each. `vouched`: one may vouch for those before it (badSignatures), where another door is behind this one. Default `verified`. */
  readonly signatures?: 'verified' | 'vouched' | undefined;
}

/** A file as it was read. */
interface Read {
  readonly file: SpoolFile;
  readonly decoded: readonly Decoded[];
}

/** A file whose batches are all sound and may all go on. */
interface Sound {
  readonly file: SpoolFile;
  readonly batches: readonly Batch[];
}

/** A sound file's way: who wants it, and the heads of the batches in it that are wanted. */
interface Leaving extends Sound {
  readonly wanting: readonly Interest[];
  readonly heads: readonly Head[];
}

/** Links a file into the queues that want it; true when its name in `new` is still to go. A disk without room for another name may still move this one. */
async function handOn(
  spool: Spool,
  { file, batches, wanting }: Leaving,
  touched: Set<string>,
  handed: RouteOptions['handed'],
): Promise<boolean> {
  for (const { handler } of wanting) {
    const directory = spool.directory('queue', handler);
    touched.add(directory);
    try {
      const name = await linkFile(spool.disk, file.path, directory);
      if (name !== undefined) handed?.(handler, name, batches);
    } catch (error) {
      if (wanting.length > 1 || errorCode(error) !== 'ENOSPC') throw error;
      await moveFile(spool.disk, file.path, directory, file.name);
      return false;
    }
  }
  return true;
}

/** Links each file into the queues of the handlers that want it; the names in `new` go once the links are durable. */
async function handOver(
  spool: Spool,
  group: readonly Leaving[],
  handed: RouteOptions['handed'],
): Promise<void> {
  const touched = new Set<string>();
  const leaving: string[] = [];
  for (const one of group) if (await handOn(spool, one, touched, handed)) leaving.push(one.file.path);
  for (const directory of touched) await spool.disk.sync(directory);
  for (const path of leaving) await unlessDone(spool.disk.unlink(path), 'ENOENT');
}

/**
 * Gives every file in `new` to the handlers that want it: a hard link each, then the name in `new` goes. Repeating it after a
 * crash at any step changes nothing. Damage is set aside in `corrupt`, what the gate objects to as the gate says, and what is sound in
 * the same file goes on.
 */
export async function route(
  spool: Spool,
  interests: readonly Interest[],
  options: RouteOptions = {},
): Promise<Routed> {
  const done: Routed = { routed: 0, unwanted: 0, corrupt: 0, unreadable: 0 };
  for (const { handler } of interests) await spool.disk.mkdir(spool.directory('queue', handler));
  // What the first pass enters again is sound: the second finds nothing more to divide.
  for (let again = true, pass = 1; again && pass <= 2; pass++) {
    const asides = setAsideIn(done);
    done.unwanted = 0;
    await routeAll(spool, interests, done, options);
    again = setAsideIn(done) > asides;
  }
  await setStrangersAside(spool, done);
  return done;
}

/** Files and batches that were set aside, which leaves others entered again. */
function setAsideIn({ corrupt, forged = 0, strange = 0 }: Routed): number {
  return corrupt + forged + strange;
}

async function routeAll(
  spool: Spool,
  interests: readonly Interest[],
  done: Routed,
  options: RouteOptions,
): Promise<void> {
  let group: Read[] = [];
  let [batches, bytes] = [0, 0];
  for await (const file of inWindows(spool.files('new'))) {
    if (options.signal?.aborted) break;
    const decoded = await readFile(spool, file, done, options);
    if (decoded === undefined) continue;
    group.push({ file, decoded });
    batches += decoded.length;
    bytes += decoded.reduce((sum, { batch, damage }) => sum + (batch ?? damage).bytes.length, 0);
    if (group.length < GROUP && batches < GROUP_BATCHES && bytes < GROUP_BYTES) continue;
    await routeGroup(spool, interests, group, done, options);
    [group, batches, bytes] = [[], 0, 0];
  }
  await routeGroup(spool, interests, group, done, options);
}

/** Gives some files that were read to the handlers that want them. */
async function routeGroup(
  spool: Spool,
  interests: readonly Interest[],
  group: readonly Read[],
  done: Routed,
  { gate, signatures, handed, handOn = (step) => step() }: RouteOptions,
): Promise<void> {
  const leaving: Leaving[] = [];
  for (const read of signatures === 'vouched' ? await vouched(spool, group, done) : group) {
    const sound = await soundFile(spool, read, done, gate);
    if (sound === undefined) continue;
    const way = await wantedPart(spool, sound, interests);
    if (way) leaving.push(way);
    else done.unwanted++;
  }
  if (leaving.length === 0) return;
  await gate?.admit(leaving.flatMap(({ heads }) => heads));
  await handOn(() => handOver(spool, leaving, handed));
  done.routed += leaving.length;
}

/** What was read, the signatures of its batches looked at as far as they do not vouch for each other. A file with a bad one is read again, so that it is damage. */
async function vouched(spool: Spool, group: readonly Read[], done: Routed): Promise<readonly Read[]> {
  const bad = badSignatures(group.flatMap(({ decoded }) => decoded.flatMap(({ batch }) => batch ?? [])));
  if (bad.size === 0) return group;
  const again: Read[] = [];
  for (const { file, decoded } of group) {
    const isBad = decoded.some(({ batch }) => batch && bad.has(batch));
    const now = isBad ? await readFile(spool, file, done, {}) : decoded;
    if (now) again.push({ file, decoded: now });
  }
  return again;
}

/** The files in order of their names within each window: memory is bounded whatever lies there. */
async function* inWindows(files: AsyncIterable<SpoolFile>): AsyncGenerator<SpoolFile> {
  let window: SpoolFile[] = [];
  for await (const file of files) {
    window.push(file);
    if (window.length < WINDOW) continue;
    yield* window.sort(byName);
    window = [];
  }
  yield* window.sort(byName);
}

/** Who wants what of a file; undefined when nobody wants any of it. What of it nobody wants is entered again, to stay in `new`. */
async function wantedPart(
  spool: Spool,
  { file, batches }: Sound,
  interests: readonly Interest[],
): Promise<Leaving | undefined> {
  const agents = [...new Set(batches.map(({ header }) => header.agent))];
  const wanting = interests.filter((interest) => agents.some((agent) => interest.wants(agent)));
  if (wanting.length === 0) return undefined;
  const wanted = new Set(agents.filter((agent) => wanting.some((interest) => interest.wants(agent))));
  const { yes = [], no = [] } = Object.groupBy(batches, ({ header }) =>
    wanted.has(header.agent) ? 'yes' : 'no',
  );
  await enterAgain(spool, 'unwanted', no);
  return { file, batches, wanting, heads: yes.map(headOf) };
}

/** What lies in `new` under a name that no batch has was put there by someone else: kept, but not in the way. */
async function setStrangersAside(spool: Spool, done: Routed): Promise<void> {
  for await (const name of spool.disk.list(spool.directory('new'))) {
    // A name that is not UTF-8 comes with U+FFFD for its bytes: under that name there is no file to move.
    if (isBatchFile(name) || name.startsWith('.') || name.includes('\uFFFD')) continue;
    await spool.quarantine(
      { state: 'new', name, path: join(spool.directory('new'), name) },
      'its name is not a batch’s: expected *.jsonl or *.jsonl.zst',
    );
    done.corrupt++;
  }
}

/** Reads a file; undefined when it is gone, or cannot be read: then it is on hold. */
async function readFile(
  spool: Spool,
  file: SpoolFile,
  done: Routed,
  { signatures }: Pick<RouteOptions, 'signatures'>,
): Promise<Decoded[] | undefined> {
  try {
    return await spool.open(file.path, signatures === 'vouched' ? 'unverified' : 'verified');
  } catch (error) {
    if (isMissing(error)) return undefined;
    if (!isUnreadable(error)) throw error;
    await spool.hold(file, `cannot be read: ${reasonOf(error)}`);
    done.unreadable++;
    return undefined;
  }
}

/** A file's batches when all are sound. Damage, and what the gate objects to, is set aside: then it answers undefined. */
async function soundFile(
  spool: Spool,
  { file, decoded }: Read,
  done: Routed,
  gate: Gate | undefined,
): Promise<Sound | undefined> {
  const damage = damageReason(decoded);
  const whole = decoded.flatMap(({ batch }) => batch ?? []);
  if (damage !== undefined) {
    done.corrupt++;
    await enterAgain(spool, 'rescued', whole);
    await spool.quarantine(file, damage);
    return undefined;
  }
  const passing = gate ? await passGate(spool, file, whole, done, gate) : whole;
  return passing && { file, batches: passing };
}

/** Enters some of a file's batches as a segment of their own, before that file goes. Its name is made of its bytes: repeated after a crash it is one file. */
async function enterAgain(
  spool: Spool,
  why: 'rescued' | 'unwanted',
  batches: readonly Batch[],
): Promise<void> {
  if (batches.length === 0) return;
  const bytes = Buffer.concat(batches.map((batch) => batch.bytes));
  const digest = createHash('sha256').update(bytes).digest('hex').slice(0, 16);
  await spool.enter(`segment.${why}-${digest}.0000000001.jsonl`, bytes);
}

/** The batches of a file when all may go on. Otherwise each that may not is set aside, the others enter again, and it answers undefined. */
async function passGate(
  spool: Spool,
  file: SpoolFile,
  batches: readonly Batch[],
  done: Routed,
  gate: Gate,
): Promise<readonly Batch[] | undefined> {
  const passing: Batch[] = [];
  const refused: { batch: Batch; objection: Objection }[] = [];
  for (const batch of batches) {
    const objection = await gate.objection(batch);
    if (!objection) passing.push(batch);
    else {
      refused.push({ batch, objection });
      if (objection.to === 'corrupt') done.forged = (done.forged ?? 0) + 1;
      else done.strange = (done.strange ?? 0) + 1;
    }
  }
  if (refused.length === 0) return passing;
  if (batches.length === 1) {
    const { to, reason } = refused[0]!.objection;
    await (to === 'hold' ? spool.hold(file, reason) : spool.quarantine(file, reason));
    return undefined;
  }
  for (const { batch, objection } of refused)
    await spool.keepBytes(objection.to, batchFile(batch.header), batch.bytes, objection.reason);
  await enterAgain(spool, 'rescued', passing);
  await spool.delivered(file);
  return undefined;
}
