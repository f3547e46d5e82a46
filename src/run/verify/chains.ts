/** Checks each stream from its first batch to its last: the chain, gaps, forks, and that no key comes back once another has followed it. */
import type { KnownNodes } from '../../evidence/known-nodes.ts';
import type { Finding, FindingKind } from './findings.ts';
import type { Ledger } from './ledger.ts';

interface Row {
  readonly stream: number;
  readonly seq: number;
  readonly sha256: string;
  readonly prev: string | null;
  readonly key: string | null;
  readonly node: string;
  readonly agent: string;
  readonly epoch: string;
  readonly host: string;
  readonly label: string;
  readonly at: number;
}

const IN_ORDER = `
  select b.stream, b.seq, b.sha256, b.prev, b.key, s.node, s.agent, s.epoch, s.host, f.label, b.at
  from batches b join streams s on s.id = b.stream join files f on f.id = b.file
  order by b.stream, b.seq, b.rowid`;

/** A finding about one row. */
function about(row: Row, kind: FindingKind, message: string, more: Partial<Finding> = {}): Finding {
  const { node, host, agent, epoch, seq, label, at } = row;
  return { kind, message, file: label, offset: at, node, host, agent, epoch, seq, ...more };
}

/** One stream on the way through it: what is at this number, and at the one before. */
class Walk {
  seq = 0;
  here = new Set<string>();
  before = new Set<string>();
  /** How far the keys have come, by their order in known_nodes. */
  newest = -1;

  /** Takes the next row; answers the numbers that are missing before it. */
  step(seq: number): { from: number; to: number } | undefined {
    if (seq === this.seq) return undefined;
    const missing = seq > this.seq + 1 ? { from: this.seq + 1, to: seq - 1 } : undefined;
    this.before = missing ? new Set() : this.here;
    this.here = new Set();
    this.seq = seq;
    return missing;
  }
}

/** Tells what is wrong in the streams. `whole`: every batch there is should be here, so that a hole is a gap. */
export function checkChains(ledger: Ledger, known: KnownNodes | undefined, whole: boolean): void {
  let stream = 0;
  let walk = new Walk();
  for (const value of ledger.db.prepare(IN_ORDER).iterate()) {
    const row = value as unknown as Row;
    if (row.stream !== stream) [stream, walk] = [row.stream, new Walk()];
    for (const finding of checkRow(row, walk, known, whole)) ledger.tell(finding);
  }
}

function checkRow(row: Row, walk: Walk, known: KnownNodes | undefined, whole: boolean): Finding[] {
  const found: Finding[] = [];
  const missing = walk.step(row.seq);
  if (missing && whole) {
    const { from, to } = missing;
    const what = from === to ? `batch ${from} is not here` : `batches ${from} to ${to} are not here`;
    found.push(
      about(row, 'gap', `${what}, though this one follows them`, {
        expected: `${from}`,
        received: `${row.seq}`,
      }),
    );
  }
  if (walk.here.has(row.sha256)) return found;
  if (walk.here.size > 0) {
    const [expected] = walk.here;
    found.push(
      about(row, 'fork', 'another batch has the same place in the stream', {
        expected: expected!,
        received: row.sha256,
      }),
    );
  }
  walk.here.add(row.sha256);
  if (row.prev !== null && walk.before.size > 0 && !walk.before.has(row.prev)) {
    const [expected] = walk.before;
    found.push(
      about(row, 'chain', `it follows another batch ${row.seq - 1} than the one here`, {
        expected: expected!,
        received: row.prev,
      }),
    );
  }
  const place = known && row.key !== null ? known.of(row.node).findIndex(({ key }) => key === row.key) : -1;
  if (place >= 0 && place < walk.newest) {
    const expected = known!.of(row.node)[walk.newest]!.key;
    found.push(
      about(row, 'key', 'signed by a key that another had followed in this stream', {
        expected,
        received: row.key!,
      }),
    );
  }
  walk.newest = Math.max(walk.newest, place);
  return found;
}
