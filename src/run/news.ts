/**
 * What of an agent's failures a person has been told. Cron mails each line that a command says: a source that a node may not read for good is told when it
 * begins, when its reason changes, and once a day; every receipt keeps saying it.
 */
import { join } from 'node:path';
import * as z from 'zod';
import type { Paths } from '../config/paths.ts';
import { readIfThere, realDisk, replace } from '../spool/disk.ts';
import { elapsed } from './agent-run.ts';
import type { AgentOutcome } from './receipt.ts';

/** After this long what has not changed is told again, in ms. */
const REMIND = 86_400_000;

const toldSchema = z.record(z.string(), z.strictObject({ reason: z.string(), time: z.string() }));

type Told = z.infer<typeof toldSchema>;

async function readTold(path: string): Promise<Told> {
  try {
    return toldSchema.parse(JSON.parse((await readIfThere(realDisk, path))?.toString() ?? '{}'));
  } catch {
    // Better told twice than never.
    return {};
  }
}

/** The agents whose failure is news, noted as told from here on. What cannot be noted is news again at the next run. */
export async function takeNews(
  paths: Paths,
  outcomes: readonly AgentOutcome[],
  now: Date,
): Promise<Set<string>> {
  const path = join(paths.lib, 'agents', 'told.json');
  const told = await readTold(path);
  const next: Told = { ...told };
  const news = new Set<string>();
  for (const { agent, outcome, reason = '', cause } of outcomes) {
    if (outcome === 'busy' || outcome === 'not-due' || cause !== undefined) {
      if (cause !== undefined) news.add(agent);
      continue;
    }
    const before = told[agent];
    if (outcome !== 'failed') delete next[agent];
    else if (before?.reason !== reason || elapsed(before.time, now) >= REMIND) {
      news.add(agent);
      next[agent] = { reason, time: now.toISOString() };
    }
  }
  if (JSON.stringify(next) !== JSON.stringify(told))
    await replace(realDisk, path, Buffer.from(`${JSON.stringify(next)}\n`)).catch(() => {});
  return news;
}
