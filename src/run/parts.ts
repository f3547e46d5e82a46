/** Cuts an inventory's events into batches that a reader accepts (docs/format.md §1). Pure. */
import type { BatchEvent, Kind } from '../spool/batch.ts';
import { MAX_BATCH } from '../spool/limits.ts';
import type { Baseline } from './state.ts';

/** What stays free in a batch for its header and trailer, and for what JSON writes longer than was counted. */
const MARGIN = 4 * 1024 * 1024;

/** A batch to be made: its events, and the inventory after them. */
export interface Part {
  readonly kind: Extract<Kind, 'snapshot' | 'changes'>;
  readonly events: BatchEvent[];
  readonly items: Baseline;
}

/** Events in lots of at most `most` bytes as lines, at least one in each; one lot, empty, when there are none. */
function lots(events: readonly BatchEvent[], most: number): BatchEvent[][] {
  const all: BatchEvent[][] = [[]];
  let size = 0;
  for (const event of events) {
    const length = Buffer.byteLength(JSON.stringify(event)) + 1;
    if (size + length > most && all.at(-1)!.length > 0) {
      all.push([]);
      size = 0;
    }
    all.at(-1)!.push(event);
    size += length;
  }
  return all;
}

/** An inventory after these changes. */
export function applied(items: Baseline, events: readonly BatchEvent[]): Baseline {
  const next: Baseline = new Map(items);
  for (const { item, source, after } of events) {
    if (after === undefined) next.delete(item!);
    else next.set(item!, { key: item!, source: source!, fields: after });
  }
  return next;
}

function* partsFrom(before: Baseline, kind: Part['kind'], cut: readonly BatchEvent[][]): Generator<Part> {
  let items = before;
  for (const [index, events] of cut.entries()) {
    items = applied(items, events);
    yield { kind: index === 0 ? kind : 'changes', events, items };
  }
}

/** What differs, from `before` to `after`, as one batch or as several that lead from one state to the next. */
export function changesParts(
  events: readonly BatchEvent[],
  before: Baseline,
  after: Baseline,
  most: number = MAX_BATCH - MARGIN,
): Part[] {
  const cut = lots(events, most);
  return cut.length === 1
    ? [{ kind: 'changes', events: cut[0]!, items: after }]
    : [...partsFrom(before, 'changes', cut)];
}

/**
 * The whole inventory. Where one batch cannot hold it: at the begin of an epoch, a snapshot of as much as fits and the rest as changes behind it; later
 * on, when the centre has it all, a batch without events, whose digest proves that it still has.
 */
export function snapshotParts(
  events: readonly BatchEvent[],
  items: Baseline,
  first: boolean,
  most: number = MAX_BATCH - MARGIN,
): Part[] {
  const cut = lots(events, most);
  if (cut.length === 1) return [{ kind: 'snapshot', events: cut[0]!, items }];
  return first ? [...partsFrom(new Map(), 'snapshot', cut)] : [{ kind: 'changes', events: [], items }];
}
