/**
 * Keeps batches for good: `YYYY/MM/DD/<segment>.jsonl.zst` by the day (UTC) on which they arrived here, so that the folders of past days never
 * change. A batch's bytes are kept as the node wrote them; the same batch is kept once, two batches under one key (a fork) are both kept.
 */
import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { zstdCompress } from 'node:zlib';
import { isMissing } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Batch } from '../spool/batch.ts';
import { decodeStored } from '../spool/decode.ts';
import { realDisk, replace } from '../spool/disk.ts';
import { SIGHTINGS, sweepLeftovers } from '../spool/leftovers.ts';
import { isBatchFile, segmentNamer } from '../spool/names.ts';
import { Catalogue, type Segment } from './catalogue.ts';

/** A segment is begun anew at this size, far below what a reader unfolds. In bytes. */
const SEGMENT_BYTES = 64 * 1024 * 1024;

/** A segment under the name that it is written under, see `replace`. */
const LEFTOVER = /^\.segment\..*\.new$/;

const compress = promisify(zstdCompress);

function segmentOf(path: string, bytes: Buffer): Segment {
  return { path, sha256: createHash('sha256').update(bytes).digest('hex'), size: bytes.length };
}

/** `2026/11/24`: the folder of a day in UTC. */
function dayFolder(now: Date): string {
  return now.toISOString().slice(0, 10).replaceAll('-', '/');
}

async function namesIn(directory: string, form: RegExp): Promise<string[]> {
  try {
    return (await readdir(directory)).filter((name) => form.test(name)).sort();
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

/** The day folders from `since` on (`2026/11/24`; '' for all), oldest first. Folders of earlier years and months are not opened. */
async function* dayFolders(root: string, since: string): AsyncGenerator<string> {
  for (const year of await namesIn(root, /^\d{4}$/)) {
    if (year < since.slice(0, 4)) continue;
    for (const month of await namesIn(join(root, year), /^\d{2}$/)) {
      if (`${year}/${month}` < since.slice(0, 7)) continue;
      for (const day of await namesIn(join(root, year, month), /^\d{2}$/)) {
        const folder = `${year}/${month}/${day}`;
        if (folder >= since) yield folder;
      }
    }
  }
}

/** Batches in lots of at most `SEGMENT_BYTES`, at least one in each. */
function* lots(batches: readonly Batch[]): Generator<Batch[]> {
  let lot: Batch[] = [];
  let bytes = 0;
  for (const batch of batches) {
    if (lot.length > 0 && bytes + batch.bytes.length > SEGMENT_BYTES) {
      yield lot;
      [lot, bytes] = [[], 0];
    }
    lot.push(batch);
    bytes += batch.bytes.length;
  }
  if (lot.length > 0) yield lot;
}

export class Archive {
  readonly root: string;
  readonly #catalogue: Catalogue;
  readonly #log: Log;
  readonly #clock: () => Date;
  readonly #segmentName: () => string;
  /** A segment may be there that the index does not know, since writing one failed half-way. */
  #behind = false;

  private constructor(root: string, log: Log, clock: () => Date) {
    this.root = root;
    this.#catalogue = new Catalogue(join(root, 'index.db'));
    this.#log = log;
    this.#clock = clock;
    this.#segmentName = segmentNamer(clock().getTime());
  }

  /** Opens the archive below `root`, making it where it is missing. Segments that a crash kept out of the index are recorded first. */
  static async open(root: string, log: Log, clock = (): Date => new Date()): Promise<Archive> {
    await realDisk.mkdir(root);
    const archive = new Archive(root, log, clock);
    try {
      await archive.#recordMissing();
      return archive;
    } catch (error) {
      archive.close();
      throw error;
    }
  }

  /** Keeps those batches that are not here yet. When it resolves, they and their names are durable. */
  async keep(batches: readonly Batch[]): Promise<void> {
    if (this.#behind) await this.#recordMissing();
    this.#behind = false;
    const seen = new Set<string>();
    const fresh = batches.filter(
      (batch) => this.#isNew(batch) && !seen.has(batch.trailer.sha256) && seen.add(batch.trailer.sha256),
    );
    for (const lot of lots(fresh)) await this.#write(lot);
  }

  #isNew(batch: Batch): boolean {
    const held = this.#catalogue.holds(batch);
    if (held === 'other') {
      const { node, agent, epoch, seq } = batch.header;
      this.#log.warn(
        { node, agent, epoch, seq, sha256: batch.trailer.sha256 },
        'fork: another batch under this key is in the archive; both are kept',
      );
    }
    return held !== 'same';
  }

  /** The segment first, then the index: a crash between leaves a segment that the next open records. */
  async #write(batches: readonly Batch[]): Promise<void> {
    const folder = dayFolder(this.#clock());
    await realDisk.mkdir(join(this.root, folder));
    const segment = `${folder}/${this.#segmentName()}.zst`;
    const bytes = await compress(Buffer.concat(batches.map((batch) => batch.bytes)));
    try {
      await replace(realDisk, join(this.root, segment), bytes);
      this.#catalogue.add(segmentOf(segment, bytes), batches);
    } catch (error) {
      this.#behind = true;
      throw error;
    }
  }

  /** Records the segments that the index does not know. The index is never behind by more than what was written last, so past days are left alone. */
  async #recordMissing(): Promise<void> {
    const since = this.#catalogue.latest()?.slice(0, '2026/11/24'.length) ?? '';
    const leftovers: string[] = [];
    for await (const folder of dayFolders(this.root, since)) {
      for (const name of await namesIn(join(this.root, folder), LEFTOVER))
        leftovers.push(join(this.root, folder, name));
      for (const name of (await namesIn(join(this.root, folder), /\.jsonl\.zst$/)).filter(isBatchFile)) {
        const segment = `${folder}/${name}`;
        if (this.#catalogue.knows(segment)) continue;
        // Who wrote it may not have come so far as to make its name durable.
        await realDisk.sync(join(this.root, folder));
        await this.#record(segment);
      }
    }
    const removed = await sweepLeftovers(realDisk, join(this.root, SIGHTINGS), leftovers);
    if (removed.length > 0) this.#log.warn({ removed }, 'removed what a crash had left half-written');
  }

  async #record(segment: string): Promise<void> {
    const batches: Batch[] = [];
    let bytes: Buffer = Buffer.alloc(0);
    try {
      bytes = await realDisk.read(join(this.root, segment));
      for (const { batch, damage } of await decodeStored(segment, bytes)) {
        if (batch) batches.push(batch);
        else
          this.#log.error({ segment, offset: damage.offset, reason: damage.reason }, 'damage in the archive');
      }
    } catch (error) {
      this.#log.error({ segment, reason: String(error) }, 'a segment of the archive cannot be read');
    }
    this.#catalogue.add(segmentOf(segment, bytes), batches);
    this.#log.info({ segment, batches: batches.length }, 'recorded in the index');
  }

  close(): void {
    this.#catalogue.close();
  }
}
