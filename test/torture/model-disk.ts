/**
 * A file system in memory that knows what is on the platter. Data is there once its file was fsynced, a name once its directory was; a crash may
 * keep or lose each of the others by itself, and leave unsynced data whole, cut, zeroed or gone. That is weaker than what ext4, XFS or Btrfs give
 * (they keep the order of names), so what survives here survives there. Only a rename is one piece, as all of them promise.
 */
import { basename, dirname } from 'node:path';
import type { Disk, Usage } from '../../src/spool/disk.ts';

interface Inode {
  readonly data: Buffer;
  /** Whether fsync has seen all of `data`. */
  readonly synced: boolean;
  readonly number: number;
}

let lastInode = 0;

/** One change of names that happens whole or not at all: each path gets an inode, or none. */
type Change = readonly (readonly [path: string, inode: Inode | undefined])[];

/** Thrown by the operation in which the machine stops, and by all after it. */
export class Crash extends Error {
  override readonly name = 'Crash';
}

function missing(path: string): Error {
  return Object.assign(new Error(`ENOENT: ${path}`), { code: 'ENOENT' });
}

/** What may be left of data that was not fsynced. */
const REMAINS: readonly ((data: Buffer) => Buffer)[] = [
  (data) => data,
  () => Buffer.alloc(0),
  (data) => Buffer.alloc(data.length),
  (data) => data.subarray(0, data.length >> 1),
];

export class ModelDisk implements Disk {
  /** Every name as running programs see it. */
  readonly #names: Map<string, Inode>;
  /** Every name that is on the platter. */
  readonly #durable: Map<string, Inode>;
  #pending: Change[] = [];
  /** Steps done so far: places where a crash can be. */
  steps = 0;
  /** The step in which the machine stops. */
  crashAt: number = Number.POSITIVE_INFINITY;

  constructor(durable: ReadonlyMap<string, Inode> = new Map()) {
    this.#names = new Map(durable);
    this.#durable = new Map(durable);
  }

  #step(): void {
    if (this.steps >= this.crashAt) throw new Crash(`stopped at step ${this.crashAt}`);
    this.steps++;
  }

  #change(...change: Change): void {
    for (const [path, inode] of change) inode ? this.#names.set(path, inode) : this.#names.delete(path);
    this.#pending.push(change);
  }

  #get(path: string): Inode {
    const inode = this.#names.get(path);
    if (inode === undefined) throw missing(path);
    return inode;
  }

  async write(path: string, bytes: Uint8Array): Promise<void> {
    const data = Buffer.from(bytes);
    const number = ++lastInode;
    this.#step();
    this.#change([path, { data: Buffer.alloc(0), synced: false, number }]);
    // The same name with more and more of the data: of these changes the last one replaces the others.
    for (const part of [data.subarray(0, data.length >> 1), data]) {
      this.#step();
      this.#pending.pop();
      this.#change([path, { data: part, synced: false, number }]);
    }
    this.#step();
    this.#pending.pop();
    this.#change([path, { data, synced: true, number }]);
  }

  async read(path: string): Promise<Buffer> {
    return Buffer.from(this.#get(path).data);
  }

  async rename(from: string, to: string): Promise<void> {
    this.#step();
    const inode = this.#get(from);
    // rename(2): two links to one file stay as they are.
    if (this.#names.get(to) !== inode) this.#change([from, undefined], [to, inode]);
  }

  async link(from: string, to: string): Promise<void> {
    this.#step();
    const inode = this.#get(from);
    if (this.#names.has(to)) throw Object.assign(new Error(`EEXIST: ${to}`), { code: 'EEXIST' });
    this.#change([to, inode]);
  }

  async unlink(path: string): Promise<void> {
    this.#step();
    this.#get(path);
    this.#change([path, undefined]);
  }

  async mkdir(): Promise<void> {}

  async sync(directory: string): Promise<void> {
    this.#step();
    // Whatever touches this directory, and whatever changed one of the same names before.
    const paths = new Set<string>();
    const kept: Change[] = [];
    const done: Change[] = [];
    for (const change of this.#pending.toReversed()) {
      const here = change.some(([path]) => dirname(path) === directory || paths.has(path));
      (here ? done : kept).push(change);
      if (here) for (const [path] of change) paths.add(path);
    }
    this.#pending = kept.toReversed();
    for (const change of done.toReversed()) apply(this.#durable, change);
  }

  async overwrite(path: string, bytes: Uint8Array): Promise<void> {
    this.#step();
    const old = this.#get(path);
    const inode = {
      data: Buffer.concat([bytes, old.data.subarray(bytes.length)]),
      synced: true,
      number: old.number,
    };
    for (const names of [this.#names, this.#durable])
      for (const [name, other] of names) if (other === old) names.set(name, inode);
  }

  async space(): Promise<undefined> {
    return undefined;
  }

  async usage(): Promise<Usage> {
    return { bytes: 0, files: 0 };
  }

  async *list(directory: string): AsyncGenerator<string> {
    for (const path of [...this.#names.keys()]) if (dirname(path) === directory) yield basename(path);
  }

  async stat(
    path: string,
  ): Promise<{ size: number; mtimeMs: number; links: number; inode: number } | undefined> {
    const inode = this.#names.get(path);
    if (inode === undefined) return undefined;
    const links = [...this.#names.values()].filter((other) => other === inode).length;
    return { size: inode.data.length, mtimeMs: 0, links, inode: inode.number };
  }

  /**
   * Disks as the machine may find them when it starts again, `most` of them at the most: none and all of the names that were under way, each
   * number of first ones, each one alone missing, then random choices; each with what may remain of unsynced data.
   */
  *afterCrash(most: number, random: () => number): Generator<ModelDisk> {
    const count = this.#pending.length;
    const choices: boolean[][] = [];
    for (let first = 0; first <= count; first++) choices.push(this.#pending.map((_, index) => index < first));
    for (let without = 0; without + 1 < count; without++)
      choices.push(this.#pending.map((_, index) => index !== without));
    if (count > 2)
      for (let more = 0; more < most; more++) choices.push(this.#pending.map(() => random() < 0.5));
    let made = 0;
    for (const choice of shuffled(choices, random)) {
      const kept = this.#pending.filter((_, index) => choice[index]);
      const torn = kept.some((change) => change.some(([, inode]) => inode && !inode.synced));
      for (const remains of torn ? REMAINS : REMAINS.slice(0, 1)) {
        if (made++ >= most) return;
        const names = new Map(this.#durable);
        for (const change of kept) apply(names, change, remains);
        yield new ModelDisk(names);
      }
    }
  }
}

function apply(names: Map<string, Inode>, change: Change, remains = (data: Buffer) => data): void {
  for (const [path, inode] of change) {
    if (inode === undefined) names.delete(path);
    else names.set(path, inode.synced ? inode : { ...inode, data: remains(inode.data), synced: true });
  }
}

function shuffled<T>(values: readonly T[], random: () => number): T[] {
  return values
    .map((value) => ({ value, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ value }) => value);
}
