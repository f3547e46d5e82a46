import type { Header, StreamKey } from './batch.ts';
import { uuidv7 } from './encode.ts';

const SUFFIX = /\.jsonl(?:\.zst)?$/;

/** Whether a name in a spool directory is a batch or segment (not a `.why.json`, not a stranger's file). */
export function isBatchFile(name: string): boolean {
  return SUFFIX.test(name) && !name.startsWith('.');
}

/** Whether a name is shown as a file of this state: batches everywhere, and in `corrupt` whatever was set aside. */
export function isShown(state: string, name: string): boolean {
  return isBatchFile(name) || (state === 'corrupt' && !name.startsWith('.') && !name.endsWith('.why.json'));
}

/** Ten digits sort as numbers up to 9,999,999,999; a longer sequence number still gives a legal, unique name. */
function ordinal(n: number): string {
  return String(n).padStart(10, '0');
}

/** `<agent>.<node>.<epoch>.<seq>.jsonl`: the file name of one batch. */
export function batchFile(header: StreamKey & Pick<Header, 'seq'>): string {
  return `${header.agent}.${header.node}.${header.epoch}.${ordinal(header.seq)}.jsonl`;
}

/** A namer for the segments that one process writes: `segment.<run>.<n>.jsonl`. */
export function segmentNamer(now: number): () => string {
  const run = uuidv7(now);
  let n = 0;
  return () => `segment.${run}.${ordinal(++n)}.jsonl`;
}

/** `segment.<run>.<n>` and `message.<run>.<n>` of a consumer, `divide.<handler>.<batch>` of a round: names that are written once, by one process. */
const ONCE = /^(?:(?:segment|message)\.[^.]+\.\d+|divide\.[^.]+\.[^.]+\.[^.]+\.[^.]+\.\d+)\.jsonl(?:\.zst)?$/;
const BATCH = /^[^.]+\.[^.]+\.[^.]+\.\d+\.jsonl(?:\.zst)?$/;

/**
 * Whether a name in `tmp` is one that nobody comes back to after a crash. In a node's spool a batch's own name is not: its agent may have committed it,
 * and sweeps what it did not. In the central spool no agent writes.
 */
export function isLeftover(stack: 'out' | 'in', name: string): boolean {
  return ONCE.test(name) || (stack === 'in' && BATCH.test(name));
}

/** Orders files by their names: those of a stream in its order. */
export function byName(a: { readonly name: string }, b: { readonly name: string }): number {
  return a.name < b.name ? -1 : 1;
}
