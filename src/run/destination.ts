/** What is remembered of a destination between runs: its backoff, and how often a batch failed by its own fault. */
import { join } from 'node:path';
import * as z from 'zod';
import { type Disk, readIfThere, replace } from '../spool/disk.ts';

const destinationSchema = z.object({
  version: z.literal(1),
  /** Failures of the destination in a row. */
  failures: z.int().min(0),
  /** When it first failed since it last worked. */
  failingSince: z.string().nullable(),
  /** Not before then is it tried again. */
  nextTry: z.string().nullable(),
  lastError: z.string().nullable(),
  lastDelivery: z.string().nullable(),
  /** Tries of batches that failed by their own fault, by file name. */
  attempts: z.record(z.string(), z.int()),
});

export type Destination = z.infer<typeof destinationSchema>;

/** First and longest wait after a failed try, in ms; exponential between, drawn evenly from zero up ("full jitter"). */
const FIRST_WAIT = 15_000;
const LONGEST_WAIT = 3_600_000;

export const FRESH: Destination = {
  version: 1,
  failures: 0,
  failingSince: null,
  nextTry: null,
  lastError: null,
  lastDelivery: null,
  attempts: {},
};

function fileIn(directory: string, handler: string): string {
  return join(directory, `${handler}.json`);
}

/** Reads what is known of `handler`'s destination. State that cannot be read is as good as none: it only spares useless tries. */
export async function readDestination(disk: Disk, directory: string, handler: string): Promise<Destination> {
  const bytes = await readIfThere(disk, fileIn(directory, handler));
  if (!bytes) return FRESH;
  try {
    return destinationSchema.parse(JSON.parse(bytes.toString()));
  } catch {
    return FRESH;
  }
}

/** Keeps it. */
export async function writeDestination(
  disk: Disk,
  directory: string,
  handler: string,
  destination: Destination,
): Promise<void> {
  await disk.mkdir(directory);
  await replace(disk, fileIn(directory, handler), Buffer.from(`${JSON.stringify(destination)}\n`));
}

/** Whether the destination is not to be tried yet. A wait longer than any there is comes from a clock that was ahead: it counts for nothing. */
export function isToWait({ nextTry }: Destination, now: Date): boolean {
  if (nextTry === null) return false;
  const wait = Date.parse(nextTry) - now.getTime();
  return wait > 0 && wait <= LONGEST_WAIT;
}

/** The state after one more failure of the destination. `random` is in [0, 1). */
export function afterFailure(
  destination: Destination,
  error: string,
  now: Date,
  random: number,
): Destination {
  const failures = destination.failures + 1;
  const wait = random * Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** Math.min(failures, 20));
  return {
    ...destination,
    failures,
    failingSince: destination.failingSince ?? now.toISOString(),
    nextTry: new Date(now.getTime() + wait).toISOString(),
    lastError: error,
  };
}

/** The state after the destination took something. */
export function afterDelivery(destination: Destination, now: Date): Destination {
  return {
    ...destination,
    failures: 0,
    failingSince: null,
    nextTry: null,
    lastError: null,
    lastDelivery: now.toISOString(),
  };
}
