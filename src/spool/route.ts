/** Routing: gives what is new in a spool to the handlers that want it, and sets aside what is damaged, strange or cannot be read. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { isMissing, isUnreadable, reasonOf } from '../errors.ts';
import type { Decoded } from './decode.ts';
import { unlessDone } from './disk.ts';
import { linkFile } from './moves.ts';
import { isBatchFile } from './names.ts';
import type { Spool, SpoolFile } from './spool.ts';

/** Files that leave `new` together, after one sync of the queues that they went to. */
const GROUP = 256;

/** A handler's name and which agents it wants. */
export interface Interest {
  readonly handler: string;
  wants(agent: string): boolean;
}

/** What one pass of routing did, in files. */
export interface Routed {
  routed: number;
  /** Files that no handler wants: they stay in `new`. */
  unwanted: number;
  corrupt: number;
  /** Files that cannot be read, put on hold. */
  unreadable: number;
}

/** Links each file into the queues of the handlers that want it; the names in `new` go once the links are durable. */
async function handOver(
  spool: Spool,
  group: readonly { readonly file: SpoolFile; readonly wanting: readonly Interest[] }[],
): Promise<void> {
  const touched = new Set<string>();
  for (const { file, wanting } of group) {
    for (const { handler } of wanting) {
      const directory = spool.directory('queue', handler);
      await linkFile(spool.disk, file.path, directory);
      touched.add(directory);
    }
  }
  for (const directory of touched) await spool.disk.sync(directory);
  for (const { file } of group) await unlessDone(spool.disk.unlink(file.path), 'ENOENT');
}

/**
 * Gives every file in `new` to the handlers that want it: a hard link each, then the name in `new` goes. Repeating it after a
 * crash at any step changes nothing. Damage is set aside in `corrupt`, and what is whole in the same file goes on.
 */
export async function route(
  spool: Spool,
  interests: readonly Interest[],
  signal?: AbortSignal,
): Promise<Routed> {
  const done: Routed = { routed: 0, unwanted: 0, corrupt: 0, unreadable: 0 };
  for (const { handler } of interests) await spool.disk.mkdir(spool.directory('queue', handler));
  let group: { file: SpoolFile; wanting: Interest[] }[] = [];
  for await (const file of spool.files('new')) {
    if (signal?.aborted) break;
    const agents = await soundAgents(spool, file, done);
    if (agents === undefined) continue;
    const wanting = interests.filter((interest) => agents.some((agent) => interest.wants(agent)));
    if (wanting.length === 0) {
      done.unwanted++;
      continue;
    }
    group.push({ file, wanting });
    done.routed++;
    if (group.length < GROUP) continue;
    await handOver(spool, group);
    group = [];
  }
  await handOver(spool, group);
  await setStrangersAside(spool, done);
  return done;
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

/** The agents in a file that is whole; otherwise sets the damage aside and answers undefined. */
async function soundAgents(spool: Spool, file: SpoolFile, done: Routed): Promise<string[] | undefined> {
  let decoded: Decoded[];
  try {
    decoded = await spool.open(file.path);
  } catch (error) {
    if (isMissing(error)) return undefined;
    if (!isUnreadable(error)) throw error;
    await spool.hold(file, `cannot be read: ${reasonOf(error)}`);
    done.unreadable++;
    return undefined;
  }
  const damages = decoded.flatMap(({ damage }) => damage ?? []);
  if (damages.length === 0) return [...new Set(decoded.flatMap(({ batch }) => batch?.header.agent ?? []))];
  done.corrupt++;
  const whole = decoded.flatMap(({ batch }) => batch?.bytes ?? []);
  if (whole.length > 0)
    await spool.enter(
      `segment.rescued-${randomBytes(8).toString('hex')}.0000000001.jsonl`,
      Buffer.concat(whole),
    );
  const reason = damages.map((damage) => `at byte ${damage.offset}: ${damage.reason}`).join('; ');
  await spool.quarantine(file, reason);
  return undefined;
}
