/** Between routing, which fills queues, and those who work through them at the same time. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Batch } from '../spool/batch.ts';

const MIB = 1024 * 1024;
/** What is kept in memory for one handler at most, in bytes, and what is enough for it to go on with. */
const MOST = 16 * MIB;
const ENOUGH = 8 * MIB;
/** What a batch takes in memory beside its bytes, about: most are small, and their headers are objects by then. */
const HEADER = 4096;
/** How long routing waits, in ms, while all have enough to go on with. */
const PATIENCE = 1000;

/**
 * Files of a handler's queue that routing has just read and found sound: they need not be read again. A name in a queue is never given to other bytes, so
 * that what is kept under it is what the file holds.
 */
export class Kept {
  readonly #files = new Map<string, { readonly batches: readonly Batch[]; readonly bytes: number }>();
  readonly #less: () => void;
  /** Of memory. */
  #taken = 0;

  /** `less` is called whenever there is less of it. */
  constructor(less: () => void) {
    this.#less = less;
  }

  get enough(): boolean {
    return this.#taken >= ENOUGH;
  }

  /** Keeps a file's batches, all that it has, as long as there is room. */
  add(name: string, batches: readonly Batch[]): void {
    const bytes = batches.reduce((sum, batch) => sum + batch.bytes.length, 0);
    const taken = bytes + HEADER * batches.length;
    if (this.#taken + taken > MOST) return;
    this.#files.set(name, { batches, bytes });
    this.#taken += taken;
  }

  /** Gives up a file's batches, and its size in bytes; undefined when it is not kept. */
  take(name: string): { readonly batches: readonly Batch[]; readonly bytes: number } | undefined {
    const kept = this.#files.get(name);
    if (kept === undefined) return undefined;
    this.#files.delete(name);
    this.#taken -= kept.bytes + HEADER * kept.batches.length;
    this.#less();
    return kept;
  }
}

export class Supply {
  #next = Promise.withResolvers<void>();
  #ended = false;
  #last: Promise<unknown> = Promise.resolve();
  #less = Promise.withResolvers<void>();
  #patient = true;
  readonly #kept = new Map<string, Kept>();

  /** Resolves when there is more than at the time of asking, or when there will be no more; undefined once it has ended. */
  more(): Promise<void> | undefined {
    return this.#ended ? undefined : this.#next.promise;
  }

  /** What is kept for a handler, from now on until it has left. */
  join(handler: string): Kept {
    const kept = new Kept(this.#tellLess);
    this.#kept.set(handler, kept);
    return kept;
  }

  leave(handler: string): void {
    this.#kept.delete(handler);
    this.#tellLess();
  }

  readonly #tellLess = (): void => {
    this.#less.resolve();
    this.#less = Promise.withResolvers();
  };

  /** Does one thing at a time: who lists a queue sees all of what is handed on together, or nothing, so that a stream's batches stay in order. */
  alone<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => {});
    return done;
  }

  /** Says what is in a file that a handler's queue was given. */
  readonly handed = (handler: string, name: string, batches: readonly Batch[]): void => {
    this.#kept.get(handler)?.add(name, batches);
  };

  /** Hands files on to their queues, and says that there is more. */
  readonly handOn = async (work: () => Promise<void>): Promise<void> => {
    await this.alone(work);
    this.#next.resolve();
    this.#next = Promise.withResolvers();
    await this.#wait();
  };

  /**
   * Routing that is far ahead would have every file read twice: it waits while all at work have enough to go on with. Not for one that is stuck, as others'
   * files wait behind it: once that has taken too long it waits no more.
   */
  async #wait(): Promise<void> {
    const isAhead = (): boolean => {
      const all = [...this.#kept.values()];
      return this.#patient && all.length > 0 && all.every(({ enough }) => enough);
    };
    if (!isAhead()) return;
    const late = new AbortController();
    const patience = sleep(PATIENCE, true, { signal: late.signal }).catch(() => false);
    while (isAhead()) {
      const isLate = await Promise.race([this.#less.promise.then(() => false), patience]);
      if (isLate) this.#patient = false;
    }
    late.abort();
  }

  /** Says that nothing will follow. */
  end(): void {
    this.#ended = true;
    this.#next.resolve();
  }
}
