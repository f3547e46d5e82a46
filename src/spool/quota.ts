/**
 * How much a spool may hold, and what the file systems that DSAC writes to must keep free (promises P5 and P9). Whoever is about to add to a spool
 * asks first, and leaves things where they are when there is no room.
 *
 * A spool is counted by walking it, once per process and again before it is called full: a name costs some microseconds, and the walk ends where the
 * limit is passed, so that it is bounded by `files` whatever lies there.
 */
import { type Amount, amountOf, formatSize } from '../config/size.ts';
import { DsacError, errorCode } from '../errors.ts';
import type { Space, Usage } from './disk.ts';
import type { Spool } from './spool.ts';

/** What a spool may take, and what must be left. */
export interface Quota {
  /** Bytes on disk that the spool may take; a share is one of its file system. */
  readonly bytes: Amount;
  /** Files in it. */
  readonly files: number;
  /** Bytes that each file system that is written to must keep free. */
  readonly free: Amount;
  /** Inodes that it must keep free; where a file system has no fixed number of them, it is not asked. */
  readonly freeInodes: Amount;
}

const MIB = 1024 * 1024;

/** A node's share where none is configured; the centre's is larger. */
export const DEFAULT_QUOTA: Quota = {
  bytes: { most: 1024 * MIB },
  files: 100_000,
  free: { most: 128 * MIB, share: 0.05 },
  freeInodes: { most: 2000, share: 0.05 },
};

/** How much beyond the quota a receipt may take, and how far below `free` it may go, as a share of them: it must still say that the rest had no room. */
const RESERVE = 0.1;
/** A count this old, in ms, is taken anew before the spool is called full. */
const STALE = 1000;
/** What a small file takes at least. */
const BLOCK = 4096;

/** There is no room for what was to be written: it stays where it is, and will be tried again. */
export class NoRoom extends DsacError {
  override readonly name = 'NoRoom';

  constructor(message: string, hint: string) {
    super('tempfail', message, { hint });
  }
}

/** Whether an error says that a disk, or the quota on it, is full. */
export function isFull(error: unknown): boolean {
  return error instanceof NoRoom || ['ENOSPC', 'EDQUOT'].includes(errorCode(error) ?? '');
}

/** The room that is left in a spool. */
export class Room {
  readonly #spool: Spool;
  readonly #quota: Quota;
  readonly #hint: string;
  /** Other directories that are written to. */
  readonly #beside: readonly string[];
  #used = { bytes: 0, files: 0 };
  #counted = Number.NEGATIVE_INFINITY;
  #counting: Promise<Usage> | undefined;
  #lastCount: Promise<Usage> | undefined;

  /** `hint` says what a person can do when it is full. */
  constructor(spool: Spool, quota: Quota, hint: string, beside: readonly string[] = []) {
    this.#spool = spool;
    this.#quota = quota;
    this.#hint = hint;
    this.#beside = beside;
  }

  /** Counts a file of `bytes` in, or throws `NoRoom` where it does not fit. A receipt may use the reserve. */
  async take(bytes: number, how: 'plain' | 'receipt' = 'plain'): Promise<void> {
    const lack = await this.#lack(bytes, how === 'receipt' ? RESERVE : 0);
    if (lack !== undefined) throw new NoRoom(lack, this.#hint);
    this.add(bytes);
  }

  /** Counts in a file that was written. */
  add(bytes: number): void {
    this.#used.bytes += Math.max(bytes, BLOCK);
    this.#used.files += 1;
  }

  /** Throws `NoRoom` where not even a small file fits. */
  async require(): Promise<void> {
    const lack = await this.#lack(BLOCK, 0);
    if (lack !== undefined) throw new NoRoom(lack, this.#hint);
  }

  /** Why a file of `bytes` does not fit, in words for people; undefined when it does. */
  async #lack(bytes: number, reserve: number): Promise<string | undefined> {
    for (const directory of [this.#spool.root, ...this.#beside]) {
      const space = await this.#spool.disk.space(directory);
      const lack = space && this.#lackOf(space, directory, bytes, reserve);
      if (lack !== undefined) return lack;
    }
    const most = await this.#most(reserve);
    const over = (): boolean => this.#used.bytes + bytes > most.bytes || this.#used.files + 1 > most.files;
    const age = performance.now() - this.#counted;
    if (age === Number.POSITIVE_INFINITY || (over() && age > STALE))
      await this.#count(await this.#most(RESERVE));
    if (!over()) return undefined;
    const held = `it holds ${formatSize(this.#used.bytes)} in ${Math.ceil(this.#used.files)} files`;
    return `the spool ${this.#spool.root} is full: ${held}, of ${formatSize(most.bytes)} in ${Math.floor(most.files)} files that it may hold`;
  }

  #lackOf(space: Space, directory: string, bytes: number, reserve: number): string | undefined {
    const factor = reserve > 0 ? 0.5 : 1;
    const free = amountOf(this.#quota.free, space.bytes) * factor;
    if (space.freeBytes - bytes < free)
      return `no room in ${directory}: its file system has ${formatSize(space.freeBytes)} left, of which ${formatSize(free)} must stay free`;
    const inodes = amountOf(this.#quota.freeInodes, space.inodes) * factor;
    if (space.inodes > 0 && space.freeInodes - 2 < inodes)
      return `no room in ${directory}: its file system has ${space.freeInodes} inodes left, of which ${Math.ceil(inodes)} must stay free`;
    return undefined;
  }

  async #most(reserve: number): Promise<Usage> {
    const space = await this.#spool.disk.space(this.#spool.root);
    const factor = 1 + reserve;
    return {
      bytes: amountOf(this.#quota.bytes, space?.bytes ?? 0) * factor,
      files: this.#quota.files * factor,
    };
  }

  /** Counts anew; callers side by side wait for one count. */
  async #count(most: Usage): Promise<void> {
    this.#counting ??= this.#spool.disk.usage(this.#spool.root, most).finally(() => {
      this.#counting = undefined;
    });
    const counting = this.#counting;
    const used = await counting;
    if (this.#lastCount === counting) return;
    this.#lastCount = counting;
    this.#used = used;
    this.#counted = performance.now();
  }
}
