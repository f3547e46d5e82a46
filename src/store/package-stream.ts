/** The changes of packages (package-changes.ts) out of a stream of events, of which only what may still be about one change is held. */
import type { StoredEvent } from './events.ts';
import {
  APART,
  byTimeThenNode,
  changesOfPackage,
  isLook,
  MINUTE,
  type PackageChange,
  partsOf,
  SLACK,
  transactionOf,
} from './package-changes.ts';

/** Events of one package on one node that may be about the same change, and until when another one may join. */
interface Cluster {
  readonly start: number;
  end: number;
  readonly events: StoredEvent[];
}

/** The span of time in which the change that an event tells can have partners. */
function spanOf(event: StoredEvent): { start: number; end: number } {
  const time = Date.parse(event.time);
  if (isLook(event))
    return { start: (event.since === null ? time : Date.parse(event.since)) - SLACK, end: time + SLACK };
  const { start, end } = transactionOf(event);
  return { start, end: end + APART };
}

const packageKey = ({ node, item }: StoredEvent): string => {
  const { manager, name } = partsOf(item ?? '');
  return `${node} ${manager} ${name}`;
};

/** Puts a stream of events into clusters and lets go of the changes as soon as no later event can bear on them, or come before them. */
class Sweep {
  // In the order in which they begin, give or take SLACK, because events come so.
  readonly #open = new Map<string, Cluster>();
  #ready: PackageChange[] = [];
  #swept = Number.NEGATIVE_INFINITY;
  #released = Number.NEGATIVE_INFINITY;

  add(event: StoredEvent): void {
    const { start, end } = spanOf(event);
    const key = packageKey(event);
    const cluster = this.#open.get(key);
    if (cluster && cluster.end >= start) {
      cluster.events.push(event);
      cluster.end = Math.max(cluster.end, end);
      return;
    }
    if (cluster) this.#settle(key, cluster);
    this.#open.set(key, { start, end, events: [event] });
  }

  #settle(key: string, cluster: Cluster): void {
    this.#open.delete(key);
    this.#ready.push(...changesOfPackage(cluster.events));
  }

  /** The changes that are final when no event can begin before `moment`; at most once a minute of the events' own time. */
  passed(moment: number): PackageChange[] {
    if (moment < this.#swept + MINUTE) return [];
    this.#swept = moment;
    for (const [key, cluster] of this.#open) if (cluster.end < moment) this.#settle(key, cluster);
    const limit = Math.min(moment, (this.#open.values().next().value?.start ?? moment) - SLACK);
    if (limit < this.#released + MINUTE) return [];
    this.#released = limit;
    const { now = [], later = [] } = Object.groupBy(this.#ready, ({ time }) =>
      Date.parse(time) < limit ? 'now' : 'later',
    );
    this.#ready = later;
    return now.sort(byTimeThenNode);
  }
}

/**
 * The real changes among a stream of events that is ordered by the earliest moment each can have happened (`since` where there is one, else
 * `time`); ordered by time, then node. Holds no more than what may still find a partner or stand before something that may.
 */
export async function* packageChanges(events: AsyncIterable<StoredEvent>): AsyncGenerator<PackageChange> {
  const sweep = new Sweep();
  for await (const event of events) {
    if (event.item === null) continue;
    yield* sweep.passed(spanOf(event).start - SLACK);
    sweep.add(event);
  }
  yield* sweep.passed(Number.POSITIVE_INFINITY);
}
