import { join } from 'node:path';
import * as z from 'zod';
import { type Disk, readIfThere, replace } from './disk.ts';

/** Why a file lies in `failed/`, `hold/` or `corrupt/` (docs/format.md §3). */
export const whySchema = z.object({
  time: z.string(),
  reason: z.string(),
  by: z.string().optional(),
  handler: z.string().optional(),
  attempts: z.number().optional(),
  from: z.string().optional(),
});

export type Why = z.infer<typeof whySchema>;

/** The name of the file that says why `file` is where it is. */
export function whyName(file: string): string {
  return `${file}.why.json`;
}

/** Writes `file`'s reason beside it. */
export async function writeWhy(disk: Disk, directory: string, file: string, why: Why): Promise<void> {
  await replace(disk, join(directory, whyName(file)), Buffer.from(`${JSON.stringify(why)}\n`));
}

/** Reads `file`'s reason; undefined when there is none or it cannot be understood. */
export async function readWhy(disk: Disk, directory: string, file: string): Promise<Why | undefined> {
  const bytes = await readIfThere(disk, join(directory, whyName(file)));
  if (!bytes) return undefined;
  try {
    return whySchema.parse(JSON.parse(bytes.toString()));
  } catch {
    return undefined;
  }
}
