/** Completeness in words: which nodes lack what, in one sentence. Pure. */
import type { Gap, NodeState, StreamState } from './completeness-rules.ts';

export interface Counts {
  nodes: number;
  complete: number;
  late: number;
  gapped: number;
  silent: number;
  forked: number;
}

/** How many nodes are in which state, and for people, which and why. */
export interface Completeness {
  readonly counts: Counts;
  /** Up to `NAMED` nodes per state that is not complete, worst stream first: `web7 packages 881–894`. */
  readonly named: Readonly<Record<Exclude<NodeState, 'complete'>, readonly string[]>>;
}

/** Nodes of one state that are named; the rest are counted. */
export const NAMED = 5;

/** `881–894, 900`: the numbers that are missing. */
export function gapText(gaps: readonly Gap[]): string {
  return gaps.map(({ from, to }) => (from === to ? `${from}` : `${from}–${to}`)).join(', ');
}

/** A stream as the head line names it. */
export function nameOf({ host, agent, state, gaps, outcome }: StreamState): string {
  if (state === 'late' && outcome === 'failed') return `${host} ${agent} (last run failed)`;
  if (state === 'gapped')
    return `${host} ${agent} ${gapText(gaps.slice(0, 3))}${gaps.length > 3 ? ', …' : ''}`;
  return state === 'forked' ? `${host} ${agent}` : host;
}

/** `complete: 1 of 1 nodes`, or what is missing: `incomplete: 3 of 5 nodes complete; 1 late: web3; 1 gapped: web7 packages 881–894`. */
export function headLine({ counts, named }: Completeness): string {
  if (counts.nodes === 0) return 'incomplete: no node has reported yet';
  if (counts.complete === counts.nodes) return `complete: ${counts.complete} of ${counts.nodes} nodes`;
  const parts = (['late', 'silent', 'gapped', 'forked'] as const).flatMap((state) => {
    if (counts[state] === 0) return [];
    const more = counts[state] - named[state].length;
    return [`${counts[state]} ${state}: ${named[state].join(', ')}${more > 0 ? ` and ${more} more` : ''}`];
  });
  return [`incomplete: ${counts.complete} of ${counts.nodes} nodes complete`, ...parts].join('; ');
}
