/** The changes of packages (package-changes.ts) out of a stream of events, of which only what may still be about one change is held. */
import type { StoredEvent } from './events.ts';
import {
  APART,
  byTimeThenNode,
  changesOfPackage,
  isLook,
  MINUTE,
  type PackageChange,
  SLACK,
  transactionOf,
} from './package-changes.ts';

/** Events of one package on one node that may be about the same change, and until when another one may join. */
interface Cluster {
  /** The earliest time that one of its changes can have. */
  first: number;
  end: number;
  readonly events: StoredEvent[];
}

/** When a change is told to have been, and the span of time in which it can have partners. */
interface Span {
  readonly time: number;
  readonly start: number;
  readonly end: number;
}

function spanOf(event: StoredEvent): Span {
  if (isLook(event)) {
    const time = Date.parse(event.time);
    return {
      time,
      start: (event.since === null ? time : Date.parse(event.since)) - SLACK,
      end: time + SLACK,
    };
  }
  const { start, end } = transactionOf(event);
  return { time: start, start, end: end + APART };
}

/** One key for all architectures and versions of a package on a node: what comes before the second slash, where there is something. */
function packageKey(node: string, item: string): string {
  const name = item.indexOf('/') + 1;
  const end = item.indexOf('/', name);
  return `${node} ${name > 0 && end > name ? item.slice(0, end) : item}`;
}

/** Puts a stream of events into clusters and lets go of the changes as soon as no later event can bear on them, or come before them. */
class Sweep {
  readonly #open = new Map<string, Cluster>();
  #ready: PackageChange[] = [];
  #swept = Number.NEGATIVE_INFINITY;
  #released = Number.NEGATIVE_INFINITY;

  add(event: StoredEvent, key: string, { time, start, end }: Span): void {
    const cluster = this.#open.get(key);
    if (cluster && cluster.end >= start) {
      cluster.events.push(event);
      cluster.end = Math.max(cluster.end, end);
      cluster.first = Math.min(cluster.first, time);
      return;
    }
    if (cluster) this.#settle(key, cluster);
    this.#open.set(key, { first: time, end, events: [event] });
  }

  #settle(key: string, cluster: Cluster): void {
    this.#open.delete(key);
    this.#ready.push(...changesOfPackage(cluster.events));
    // Tables that the Map has outgrown live until a full garbage collection, and all that they name with them.
    cluster.events.length = 0;
  }

  /** The changes that are final when no event can begin before `moment`; at most once a minute of the events' own time. */
  passed(moment: number): PackageChange[] {
    if (moment < this.#swept + MINUTE) return [];
    this.#swept = moment;
    // A change has the time of one of its events, and none that is still to come is of a time before its beginning.
    let limit = moment;
    for (const [key, cluster] of this.#open) {
      if (cluster.end < moment) this.#settle(key, cluster);
      else limit = Math.min(limit, cluster.first);
    }
    if (limit < this.#released + MINUTE) return [];
    this.#released = limit;
    const before = Number.isFinite(limit) ? new Date(limit).toISOString() : '\uffff';
    const now = this.#ready.filter(({ time }) => time < before);
    if (now.length > 0) this.#ready = this.#ready.filter(({ time }) => time >= before);
    return now.sort(byTimeThenNode);
  }
}

/**
 * The real changes among a stream of events, in pages, that is ordered by the earliest moment each can have happened (`since` where there is one, else
 * `time`); ordered by time, then node. Holds no more than what may still find a partner or stand before something that may.
 */
export async function* packageChanges(
  pages: AsyncIterable<readonly StoredEvent[]>,
): AsyncGenerator<PackageChange[]> {
  const sweep = new Sweep();
  for await (const events of pages) {
    const changes: PackageChange[] = [];
    for (const event of events) {
      if (event.item === null) continue;
      const span = spanOf(event);
      for (const change of sweep.passed(span.start - SLACK)) changes.push(change);
      sweep.add(event, packageKey(event.node, event.item), span);
    }
    if (changes.length > 0) yield changes;
  }
  yield sweep.passed(Number.POSITIVE_INFINITY);
}
