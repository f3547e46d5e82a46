/** Batches of many events, sealed as agents would have written them: made once, and given to spools by hard link, as often as they are needed. */
import { randomUUID } from 'node:crypto';
import {
  closeSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import type { Batch, BatchEvent } from '../src/spool/batch.ts';
import { batchFile } from '../src/spool/names.ts';
import { FakeNode, plainEvent } from '../test/helpers/batches.ts';
import { randomFrom } from '../test/torture/fault.ts';
import type { Scope } from './bench.ts';

/** How long one event is as a line of a batch, its line break included, in bytes. */
export const EVENT_BYTES = 225;
const AGENT = 'logins';
const START = Date.parse('2026-11-01T00:00:00Z');

export interface Stock {
  readonly batches: readonly Batch[];
  readonly events: number;
  /** Of all batches together. */
  readonly bytes: number;
  /** Where their files are. */
  readonly folder: string;
}

export interface StockSize {
  readonly batches: number;
  /** How long each batch is to be, in bytes, as nearly as events make it. */
  readonly batchBytes: number;
  readonly nodes?: number;
}

/** A failed login as sshd tells it, as long as all others: what differs from one to the next is drawn at random. */
function login(number: number, random: () => number): BatchEvent {
  const below = (n: number): number => Math.floor(random() * n);
  const event = {
    time: new Date(START + number * 250).toISOString(),
    action: 'login-failed',
    item: `user/u${below(5000)}`,
    source: 'authlog',
    data: {
      from: `10.${below(256)}.${below(256)}.${below(256)}`,
      port: below(60_000),
      pid: below(4_000_000),
      method: 'publickey',
      key: '',
    },
  };
  const room = EVENT_BYTES - 1 - Buffer.byteLength(JSON.stringify(event));
  let key = '';
  while (key.length < room) key += below(36).toString(36);
  event.data.key = key;
  return event;
}

function writeDurably(path: string, bytes: Uint8Array): void {
  const fd = openSync(path, 'wx');
  writeSync(fd, bytes);
  fsyncSync(fd);
  closeSync(fd);
}

/** Makes a stock below the scope's folder. */
export function makeStock(
  { scratch, seed }: Pick<Scope, 'scratch' | 'seed'>,
  name: string,
  { batches: count, batchBytes, nodes: many = 8 }: StockSize,
): Stock {
  const folder = join(scratch, name);
  mkdirSync(folder);
  const random = randomFrom(seed);
  const nodes = Array.from({ length: many }, (_, n) => new FakeNode(randomUUID(), `web${n + 1}`));
  const each = Math.max(1, Math.floor(batchBytes / EVENT_BYTES));
  let [events, bytes] = [0, 0];
  const batches: Batch[] = [];
  for (let n = 0; n < count; n++) {
    const told = Array.from({ length: each }, () => login(events++, random));
    const batch = nodes[n % many]!.next(AGENT, 'log', told, { time: told.at(-1)!.time });
    writeDurably(join(folder, batchFile(batch.header)), batch.bytes);
    batches.push(batch);
    bytes += batch.bytes.length;
  }
  return { batches, events, bytes, folder };
}

/** Names that may share a file, far below the 65,000 that ext4 allows: a million files would take minutes to make. */
const NAMES = 100;
/** Files of a long backlog at least. */
const FEWEST = 1000;

/**
 * Fills a folder with the names of as many batches, each of one event and not written durably: only for what is not lost by it, how long they are looked
 * through. Of a long backlog several names, as of the batches of one stream, share a file.
 */
export function makeBacklog(folder: string, count: number): void {
  const nodes = Array.from({ length: 20 }, (_, n) => new FakeNode(randomUUID(), `web${n + 1}`));
  const files = Math.max(Math.ceil(count / NAMES), Math.min(count, FEWEST));
  for (let n = 0; n < files; n++) {
    const { header, bytes } = nodes[n % nodes.length]!.next(AGENT, 'log', [plainEvent(n)]);
    const file = join(folder, batchFile(header));
    writeFileSync(file, bytes);
    for (let more = n + files; more < count; more += files)
      linkSync(file, join(folder, batchFile({ ...header, seq: header.seq + more })));
  }
}

/** Takes what is new out of a spool; answers its folder, which is there then. */
export function empty(spool: string): string {
  const folder = join(spool, 'new');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  return folder;
}

/** Puts a stock into a spool's `new`, which is emptied first. */
export function fill({ folder }: Stock, spool: string): void {
  const target = empty(spool);
  for (const name of readdirSync(folder)) linkSync(join(folder, name), join(target, name));
}

/** How many files are in a spool's directory. */
export function filesIn(spool: string, directory: string): number {
  return readdirSync(join(spool, directory)).length;
}

/** Throws unless all has arrived: what was lost takes no time. */
export function expected(what: string, count: number, found: number): void {
  if (found !== count) throw new Error(`${what}: ${found}, expected ${count}`);
}
