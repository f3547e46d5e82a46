/**
 * Remembers what the configuration amounts to for one command line. Reading YAML and checking it takes several times as long as a run that has nothing to
 * do, and cron asks for the same every time. It is known by all that it is made of: the text of the file, this build of DSAC, what was asked for.
 */
import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { Trust } from '../config/schema.ts';
import type { StoreAddress } from '../plugin/handler.ts';
import { readIfThere, realDisk, replace } from '../spool/disk.ts';
import type { Quota } from '../spool/quota.ts';
import type { PlannedPost } from './post.ts';
import type { Planned } from './task.ts';

/** What `dsac agent` needs to know of the configuration. */
export interface AgentPlan {
  /** The name that the node is to report. */
  readonly host?: string;
  readonly snapshotMs: number;
  readonly quota: Quota;
  readonly tasks: readonly Planned[];
}

/** What `dsac dispatch` and `dsac process` need to know of it. */
export interface DeliverPlan {
  readonly posts: readonly PlannedPost[];
  readonly store: StoreAddress;
  readonly trust: Trust;
  /** How much a central spool on this host may hold. */
  readonly quota: Quota;
}

/** A key, the plan that was made of what it stands for, and the plan's digest: one letter of it may be a source that nobody would miss. */
type Known = [key: string, plan: unknown, sha256: string];

/** How many plans are kept: those of cron, and of what people try. */
const MOST = 8;

/** SHA-256, hex, of something as JSON. */
function digest(of: unknown): string {
  return createHash('sha256').update(JSON.stringify(of)).digest('hex');
}

function isKnown(one: unknown): one is Known {
  return Array.isArray(one) && one.length === 3 && digest(one[1]) === one[2];
}

/** What is remembered at `path`, the latest first. What cannot be read, or is not as it was written, is made anew. */
async function recall(path: string): Promise<Known[]> {
  try {
    const known: unknown = JSON.parse((await readIfThere(realDisk, path))?.toString() ?? '[]');
    return Array.isArray(known) ? known.filter(isKnown) : [];
  } catch {
    return [];
  }
}

/** Remembers a plan, if it can be written down as it is. It may hold what only the configuration's owner may read. */
async function remember(path: string, known: readonly Known[]): Promise<void> {
  const text = JSON.stringify(known);
  if (!isDeepStrictEqual(JSON.parse(text), known)) return;
  await replace(realDisk, path, Buffer.from(`${text}\n`), 0o600).catch(() => {});
}

/** The plan that `make` makes of all that `parts` names; the one at `path` where it was made of the same. Throws what `make` throws. */
export async function planned<T>(path: string, parts: unknown, make: () => Promise<T>): Promise<T> {
  const key = digest(parts);
  const known = await recall(path);
  const found = known.find(([of]) => of === key);
  if (found !== undefined) return found[1] as T;
  const plan = await make();
  await remember(path, [[key, plan, digest(plan)] as Known, ...known].slice(0, MOST));
  return plan;
}
