/** Where a command's time goes, as V8's sampling profiler sees it (node --cpu-prof). */
import { globSync, mkdtempSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Scope } from './bench.ts';
import { type Command, wallMs } from './commands.ts';

interface Frame {
  readonly functionName: string;
  readonly url: string;
}

interface Profile {
  readonly nodes: readonly { readonly id: number; readonly callFrame: Frame; readonly children?: number[] }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

/** Runs a command of Node's under the profiler; answers the share of its time, in percent, in frames that `matches`, or below one; idling is no time. */
export function shareOf(
  { scratch }: Pick<Scope, 'scratch'>,
  [node, ...args]: Command,
  matches: (frame: Frame) => boolean,
): number {
  const folder = mkdtempSync(join(scratch, 'profile-'));
  wallMs([node, '--cpu-prof', `--cpu-prof-dir=${folder}`, ...args]);
  const [file] = globSync('*.cpuprofile', { cwd: folder });
  const { nodes, samples, timeDeltas } = JSON.parse(readFileSync(join(folder, file!), 'utf8')) as Profile;
  const inside = new Set<number>();
  const idle = new Set<number>();
  // Parents stand before their children.
  for (const { id, callFrame, children = [] } of nodes) {
    if (matches(callFrame)) inside.add(id);
    if (callFrame.functionName === '(idle)') idle.add(id);
    if (inside.has(id)) for (const child of children) inside.add(child);
  }
  let [matched, total] = [0, 0];
  for (const [index, id] of samples.entries()) {
    if (idle.has(id)) continue;
    total += timeDeltas[index]!;
    if (inside.has(id)) matched += timeDeltas[index]!;
  }
  if (total === 0) throw new Error('the profile has no samples');
  return (100 * matched) / total;
}
