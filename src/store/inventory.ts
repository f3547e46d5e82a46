/**
 * The history of the items of one agent on one node, as a fold over its inventory batches. Pure: the rows before and the batches go in,
 * the rows to close, the rows to add and the differences that no batch accounts for come out.
 */
import { givesDigest } from './state.ts';

/** The fields of an item as one batch has them, canonical JSON. */
export interface Held {
  readonly source: string | null;
  readonly fields: string;
}

/** A row of `items`: the item had these fields from one batch to another. Times are as stored. */
export interface ItemRow extends Held {
  readonly item: string;
  readonly fromBatch: number;
  readonly validFrom: string;
  toBatch: number | null;
  validTo: string | null;
}

/** One inventory batch as the fold sees it. */
export interface Step {
  readonly batch: number;
  readonly time: string;
  readonly since: string | null;
  /** `snapshot`: all items there are. `changes`: the items it touches, null for those it removes. */
  readonly kind: 'snapshot' | 'changes';
  readonly items: ReadonlyMap<string, Held | null>;
  /** State digest that the node gives for what is there behind it. */
  readonly digest: string;
}

/** A stretch in which what the batches told did not add up to the state that the node gave: from the first such batch to the next that agrees. */
export interface Mismatch {
  readonly fromBatch: number;
  readonly fromTime: string;
  toBatch: number | null;
  toTime: string | null;
}

/** What a snapshot shows and no batch before it told: the account has a hole there, or a new epoch began. */
export interface Difference {
  readonly step: Step;
  /** When the batch before was made: it happened between then and this snapshot. */
  readonly since: string | null;
  readonly item: string;
  readonly before: Held | undefined;
  readonly after: Held | undefined;
}

/** What is known before the first step of a fold. */
export interface Ground {
  /** The last row of every item that is there or that the steps can touch, open or closed. */
  readonly last: Map<string, ItemRow>;
  /** The mismatch that lasts. */
  mismatch: Mismatch | undefined;
  /** Whether a snapshot was seen before: if not, the first one is where the account begins, and its items are no differences. */
  snapshotSeen: boolean;
  /** The time of the batch before the first step. */
  previous: string | null;
}

export interface Folded {
  /** Rows that were there before and are closed now. */
  readonly closed: ItemRow[];
  readonly added: ItemRow[];
  readonly differences: Difference[];
  /** A mismatch that was there before and has ended. */
  readonly mended: Mismatch | undefined;
  /** Mismatches that began, in order. */
  readonly mismatches: Mismatch[];
}

const later = (a: string, b: string): string => (a > b ? a : b);

/**
 * Applies steps, in stream order, to what was there before. An item's intervals never overlap: where the node's clock ran backwards an
 * interval has no length instead, so that "as of" any time finds at most one row.
 */
export function fold(ground: Ground, steps: readonly Step[]): Folded {
  const added = new Set<ItemRow>();
  const closed: ItemRow[] = [];
  const differences: Difference[] = [];

  const put = (step: Step, item: string, held: Held | null): ItemRow | null | undefined => {
    const last = ground.last.get(item);
    const open = last?.toBatch === null ? last : undefined;
    if (open?.fields === held?.fields) return undefined;
    const at = later(step.time, last?.validTo ?? last?.validFrom ?? '');
    if (open) {
      open.toBatch = step.batch;
      open.validTo = at;
      if (!added.has(open)) closed.push(open);
    }
    if (held) {
      const row = { item, ...held, fromBatch: step.batch, validFrom: at, toBatch: null, validTo: null };
      added.add(row);
      ground.last.set(item, row);
    }
    return open ?? null;
  };

  const reconcile = (step: Step): void => {
    const gone = [...ground.last.values()].filter((row) => row.toBatch === null && !step.items.has(row.item));
    const all: [string, Held | null][] = [
      ...step.items,
      ...gone.map((row): [string, null] => [row.item, null]),
    ];
    const found: Difference[] = [];
    for (const [item, held] of all) {
      const before = put(step, item, held);
      if (before === undefined || (before === null && !ground.snapshotSeen)) continue;
      found.push({
        step,
        since: ground.previous ?? step.since,
        item,
        before: before ?? undefined,
        after: held ?? undefined,
      });
    }
    differences.push(...found.sort((a, b) => (a.item < b.item ? -1 : 1)));
  };

  const mismatches: Mismatch[] = [];
  const before = ground.mismatch;
  const compare = (step: Step): void => {
    const open = ground.mismatch;
    const agrees = givesDigest(itemsOf(ground), step.digest);
    if (agrees === !open) return;
    if (open) {
      open.toBatch = step.batch;
      open.toTime = later(step.time, open.fromTime);
      ground.mismatch = undefined;
    } else {
      ground.mismatch = { fromBatch: step.batch, fromTime: step.time, toBatch: null, toTime: null };
      mismatches.push(ground.mismatch);
    }
  };

  for (const step of steps) {
    if (step.kind === 'snapshot') {
      reconcile(step);
      ground.snapshotSeen = true;
    } else for (const [item, held] of step.items) put(step, item, held);
    compare(step);
    ground.previous = step.time;
  }
  const mended = before?.toBatch === null ? undefined : before;
  return { closed, added: [...added], differences, mended, mismatches };
}

/** The items that are there: keys and fields. */
function itemsOf({ last }: Ground): [string, string][] {
  const open: [string, string][] = [];
  for (const { item, fields, toBatch } of last.values()) if (toBatch === null) open.push([item, fields]);
  return open;
}

/** Where a batch stands among those of its node and agent. */
export interface Position {
  readonly id: number;
  readonly epoch: string;
  readonly seq: number;
  readonly time: string;
}

/**
 * Batches in stream order: an epoch begins when its first batch was made (equal times: by its name), and within an epoch the sequence number
 * decides. No other clock reading does.
 */
export function inOrder<P extends Position>(positions: readonly P[]): P[] {
  const first = new Map<string, P>();
  for (const position of positions) {
    const known = first.get(position.epoch);
    if (!known || position.seq < known.seq) first.set(position.epoch, position);
  }
  const started = (position: P): string => `${first.get(position.epoch)!.time} ${position.epoch}`;
  const keyed = positions.map((position) => ({ position, start: started(position) }));
  keyed.sort((a, b) => (a.start === b.start ? a.position.seq - b.position.seq : a.start < b.start ? -1 : 1));
  return keyed.map(({ position }) => position);
}
