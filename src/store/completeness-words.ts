/** Completeness in words: which nodes lack what, in one sentence. Pure. */
import type { Finding, NodeState, Range, StreamState } from './completeness-rules.ts';

/** Nodes by what was found of them: one may count under several findings. */
export type Counts = Record<'nodes' | NodeState, number>;

/** How many nodes are in which state, and for people, which and why. */
export interface Completeness {
  readonly counts: Counts;
  /** Up to `NAMED` nodes per finding: `web7 packages 881–894`. */
  readonly named: Readonly<Partial<Record<Finding, readonly string[]>>>;
}

/** Nodes of one finding that are named; the rest are counted. */
export const NAMED = 5;
/** Ranges of numbers that people are shown. */
const SHOWN = 3;

/** What each finding is called behind the number of nodes, in the order of the head line. */
const CALLED: readonly (readonly [Finding, string])[] = [
  ['late', 'late'],
  ['silent', 'silent'],
  ['gapped', 'gapped'],
  ['forked', 'forked'],
  ['restarted', 'restarted'],
  ['lost', 'lost history'],
  ['differs', 'differing from the state told'],
  ['ahead', 'with a clock ahead'],
  ['returned', 'retired and reporting again'],
];

/** Counts of nothing. */
export function noCounts(): Counts {
  return {
    nodes: 0,
    complete: 0,
    late: 0,
    gapped: 0,
    silent: 0,
    forked: 0,
    restarted: 0,
    lost: 0,
    differs: 0,
    ahead: 0,
    returned: 0,
  };
}

/** `881–894, 900`: numbers of a stream. Of many ranges the first few, and `…`. */
export function rangesText(ranges: readonly Range[]): string {
  const shown = ranges.slice(0, SHOWN).map(({ from, to }) => (from === to ? `${from}` : `${from}–${to}`));
  return [...shown, ...(ranges.length > SHOWN ? ['…'] : [])].join(', ');
}

/** `40s`, `12m`, `5h`, `3d`: a length of time in its largest unit. */
export function spanText(ms: number): string {
  const units = [
    ['d', 86_400_000],
    ['h', 3_600_000],
    ['m', 60_000],
  ] as const;
  for (const [unit, size] of units) if (ms >= size) return `${Math.floor(ms / size)}${unit}`;
  return `${Math.floor(ms / 1000)}s`;
}

/** A stream as the head line names it under one of its findings. */
function streamName(finding: Finding, { host, agent, outcome, gaps, aheadMs, reason }: StreamState): string {
  switch (finding) {
    case 'late':
      return outcome === 'failed' ? `${host} ${agent} (last run failed)` : host;
    case 'silent':
      return agent === null ? `${host} (${reason})` : host;
    case 'gapped':
      return `${host} ${agent} ${rangesText(gaps)}`;
    case 'ahead':
      return `${host} (by ${spanText(aheadMs ?? 0)})`;
    case 'returned':
      return host;
    default:
      return `${host} ${agent}`;
  }
}

/** A node as the head line names it under a finding: by its first stream that has it; where that tells of one stream only, with how many more there are. */
export function nameOf(finding: Finding, streams: readonly StreamState[]): string {
  const found = streams.filter(({ findings }) => findings.includes(finding));
  const names = new Set(found.map((stream) => streamName(finding, stream)));
  const [first] = names;
  return `${first}${names.size > 1 ? ` (+${names.size - 1})` : ''}`;
}

/** Whether there is nothing to say but that all is well. */
export function isComplete({ counts }: Completeness): boolean {
  return counts.nodes > 0 && counts.complete === counts.nodes;
}

/** `complete: 1 of 1 nodes`, or what is missing: `incomplete: 3 of 5 nodes complete; 1 late: web3; 1 gapped: web7 packages 881–894`. */
export function headLine(completeness: Completeness): string {
  const { counts, named } = completeness;
  if (counts.nodes === 0) return 'incomplete: no node has reported yet';
  if (isComplete(completeness)) return `complete: ${counts.complete} of ${counts.nodes} nodes`;
  const parts = CALLED.flatMap(([finding, called]) => {
    if (counts[finding] === 0) return [];
    const names = named[finding] ?? [];
    const more = counts[finding] - names.length;
    return [`${counts[finding]} ${called}: ${names.join(', ')}${more > 0 ? ` and ${more} more` : ''}`];
  });
  return [`incomplete: ${counts.complete} of ${counts.nodes} nodes complete`, ...parts].join('; ');
}
