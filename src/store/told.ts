/** What events tell of beside what their rows hold. It is noted while they are loaded, so that a log's events are parsed once and not kept. */
import type { BatchEvent } from '../spool/batch.ts';
import type { FreshBatch } from './items.ts';

/** The action of an event by which an agent says that a part of its source was gone before it was read, whichever agent (docs/agents.md). */
const LOST = 'history-lost';

/** An event that tells of a loss, and where it stands. */
interface Loss {
  readonly fresh: FreshBatch;
  readonly idx: number;
  readonly time: string;
}

export class Told {
  readonly #latest = new Map<FreshBatch, string>();
  readonly #losses = new Map<FreshBatch, readonly Loss[]>();

  get losses(): Loss[] {
    return [...this.#losses.values()].flat();
  }

  /** The latest time that a batch tells of, its own and its events'. */
  latestOf(fresh: FreshBatch): string {
    return this.#latest.get(fresh) ?? fresh.batch.header.time;
  }

  /** The events of a batch in their order, noted as they pass; once more when they are asked for again. */
  *through(fresh: FreshBatch): Generator<BatchEvent> {
    let idx = 0;
    let latest = fresh.batch.header.time;
    const losses: Loss[] = [];
    for (const event of fresh.batch.events()) {
      const { action, time } = event;
      if (time > latest) latest = time;
      if (action === LOST && fresh.batch.header.kind === 'log') losses.push({ fresh, idx, time });
      idx++;
      yield event;
    }
    this.#latest.set(fresh, latest);
    this.#losses.set(fresh, losses);
  }
}
