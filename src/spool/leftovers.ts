/**
 * What a crash left half-written under names that nobody comes back to. Whether a file's writer is still at work is judged without the wall clock, which
 * jumps: a file is removed when it is the same (inode, size, last change) as it was an hour of uptime ago, or in an earlier boot. Writing one takes
 * seconds; and should a writer sleep that long, its rename finds nothing and it says so, before anyone was told that the file is safe.
 */
import { readFileSync } from 'node:fs';
import { uptime } from 'node:os';
import { dirname } from 'node:path';
import * as z from 'zod';
import { type Disk, readIfThere, replace, unlessDone } from './disk.ts';

/** The name of the file that holds what was seen before. */
export const SIGHTINGS = 'leftovers.json';

/** How long a file must have been the same, in seconds that the machine was up. */
const PATIENCE = 3600;

const sightingSchema = z.strictObject({
  path: z.string(),
  /** Inode, size and last change. */
  mark: z.string(),
  boot: z.string(),
  /** Seconds since the machine started (CLOCK_BOOTTIME). */
  up: z.number(),
});
const sightingsSchema = z.array(sightingSchema);

type Sighting = z.infer<typeof sightingSchema>;

/** Which run of the machine this is, and for how many seconds it has run. */
export interface Uptime {
  readonly boot: string;
  readonly up: number;
}

/** The machine's own. */
export function machineUptime(): Uptime {
  let boot = '';
  try {
    boot = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  } catch {
    // Not Linux: then a shorter uptime tells another boot.
  }
  return { boot, up: uptime() };
}

function isOver({ boot, up }: Sighting, now: Uptime): boolean {
  return boot !== now.boot || now.up < up || now.up - up >= PATIENCE;
}

async function markOf(disk: Disk, path: string): Promise<string | undefined> {
  const found = await disk.stat(path);
  return found && `${found.inode}/${found.size}/${found.mtimeMs}`;
}

async function readSightings(disk: Disk, memory: string): Promise<Sighting[]> {
  const bytes = await readIfThere(disk, memory);
  if (!bytes) return [];
  try {
    return sightingsSchema.parse(JSON.parse(bytes.toString()));
  } catch {
    // Whatever it held: everything is seen for the first time.
    return [];
  }
}

/**
 * Removes those of `paths` that nobody writes any more; answers them. `memory` is the file that holds what was seen before: paths in it are looked at,
 * too. It is written only when that changes.
 */
export async function sweepLeftovers(
  disk: Disk,
  memory: string,
  paths: Iterable<string> | AsyncIterable<string>,
  now: Uptime = machineUptime(),
): Promise<string[]> {
  const before = new Map((await readSightings(disk, memory)).map((sighting) => [sighting.path, sighting]));
  const all = new Set(before.keys());
  for await (const path of paths) all.add(path);
  const seen: Sighting[] = [];
  const removed: string[] = [];
  for (const path of all) {
    const mark = await markOf(disk, path);
    if (mark === undefined) continue;
    const known = before.get(path);
    if (known?.mark !== mark) seen.push({ path, mark, ...now });
    else if (!isOver(known, now)) seen.push(known);
    else if (await unlessDone(disk.unlink(path), 'ENOENT')) removed.push(path);
  }
  const changed =
    seen.length !== before.size || seen.some((sighting) => before.get(sighting.path) !== sighting);
  if (changed) {
    await disk.mkdir(dirname(memory));
    await replace(disk, memory, Buffer.from(`${JSON.stringify(seen)}\n`));
  }
  return removed;
}
