/**
 * What of an agent's failures a person has been told. Cron mails each line that a command says: a source that a node may not read for good is told when it
 * begins, when its reason changes, and once a day; every receipt keeps saying it.
 */
import { join } from 'node:path';
import type { Paths } from '../config/paths.ts';
import { elapsed } from '../config/time.ts';
import { readIfThere, realDisk, replace } from '../spool/disk.ts';
import type { AgentOutcome } from './receipt.ts';
import type { Told } from './shapes.ts';

/** After this long what has not changed is told again, in ms. */
const REMIND = 86_400_000;

async function readTold(path: string): Promise<Told> {
  try {
    const bytes = await readIfThere(realDisk, path);
    if (bytes === undefined || bytes.toString() === '{}\n') return {};
    return (await import('./shapes.ts')).toldSchema.parse(JSON.parse(bytes.toString()));
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
