/** Turns messages into spool files: batches gathered into segments, what is no batch quarantined. What it has written is durable. */
import { setImmediate } from 'node:timers/promises';
import type { Message } from 'amqplib';
import { type Unpacked, unpack } from '../amqp/message.ts';
import type { Log } from '../log.ts';
import type { Batch } from '../spool/batch.ts';
import { uuidv7 } from '../spool/encode.ts';
import { segmentNamer } from '../spool/names.ts';
import { badSignatures } from '../spool/signature.ts';
import type { Spool } from '../spool/spool.ts';

/** A segment is written once it has this many batches or bytes. */
const SEGMENT_BATCHES = 500;
const SEGMENT_BYTES = 8 * 1024 * 1024;
/** Bytes that messages unfolded to after which what is in them is written although their group goes on: a small message may hold very many. */
const MOST_BYTES = 4 * SEGMENT_BYTES;

/** A message and what it turned out to hold. */
interface Opened {
  readonly message: Message;
  readonly unpacked: Unpacked;
}

/** Batches in order, in lots that make one segment each. */
function* segmentsOf(batches: readonly Batch[]): Generator<Batch[]> {
  let lot: Batch[] = [];
  let bytes = 0;
  for (const batch of batches) {
    lot.push(batch);
    bytes += batch.bytes.length;
    if (lot.length < SEGMENT_BATCHES && bytes < SEGMENT_BYTES) continue;
    yield lot;
    [lot, bytes] = [[], 0];
  }
  if (lot.length > 0) yield lot;
}

export class Intake {
  readonly #spool: Spool;
  readonly #log: Log;
  readonly #segmentName: () => string;
  readonly #run: string;
  readonly #seen = new Set<string>();
  readonly count = {
    messages: 0,
    batches: 0,
    segments: 0,
    corrupt: 0,
    duplicates: 0,
    bytes: 0,
    recovered: 0,
  };

  constructor(spool: Spool, log: Log, now: number) {
    this.#spool = spool;
    this.#log = log;
    this.#segmentName = segmentNamer(now);
    this.#run = uuidv7(now);
  }

  /**
   * Looks through a group of messages. The answer writes what they hold: when it resolves, they may be acknowledged. Groups may be looked through while
   * others are written.
   */
  async open(messages: readonly Message[]): Promise<() => Promise<void>> {
    let opened: Opened[] = [];
    let bytes = 0;
    for (const message of messages) {
      const unpacked = await unpack(message, 'unverified');
      opened.push({ message, unpacked });
      bytes += unpacked.size;
      if (bytes < MOST_BYTES) continue;
      await this.#enter(await this.#sound(opened));
      [opened, bytes] = [[], 0];
      // Unfolding so much takes its time: the broker must hear in between that somebody is here.
      await setImmediate();
    }
    const batches = await this.#sound(opened);
    this.#seen.clear();
    return () => this.#enter(batches);
  }

  /** The batches of some messages, each once; what is none is quarantined. A message with a bad signature is opened again, so that it is damage. */
  async #sound(opened: readonly Opened[]): Promise<Batch[]> {
    const sound: Batch[] = [];
    const bad = badSignatures(opened.flatMap(({ unpacked }) => unpacked.batches));
    for (const { message, unpacked } of opened) {
      const isBad = unpacked.batches.some((batch) => bad.has(batch));
      const { batches, damages } = isBad ? await unpack(message) : unpacked;
      this.count.messages++;
      for (const { bytes, compressed, reason } of damages)
        await this.#quarantine(message, bytes, compressed, reason);
      sound.push(...batches.filter((batch) => this.#isFirst(batch)));
    }
    return sound;
  }

  #isFirst({ trailer: { sha256, sig } }: Batch): boolean {
    // The signature may be vouched for and not verified: the same batch under another one must not take its place.
    const key = `${sha256} ${sig}`;
    if (this.#seen.has(key)) {
      this.count.duplicates++;
      return false;
    }
    this.#seen.add(key);
    return true;
  }

  async #enter(batches: readonly Batch[]): Promise<void> {
    if (batches.length === 0) return;
    const segments = Array.from(segmentsOf(batches), (lot) => ({
      name: this.#segmentName(),
      bytes: Buffer.concat(lot.map((batch) => batch.bytes)),
    }));
    await Promise.all(segments.map(({ name, bytes }) => this.#spool.enter(name, bytes)));
    this.count.segments += segments.length;
    this.count.batches += batches.length;
    this.count.bytes += segments.reduce((sum, { bytes }) => sum + bytes.length, 0);
  }

  /** Keeps what is no batch, under a name of our own: nothing in the message may choose a path. */
  async #quarantine(
    { fields, properties }: Message,
    bytes: Buffer,
    compressed: boolean,
    reason: string,
  ): Promise<void> {
    const number = String(++this.count.corrupt).padStart(10, '0');
    const name = `message.${this.#run}.${number}.jsonl${compressed ? '.zst' : ''}`;
    const origin = {
      exchange: fields.exchange,
      routingKey: fields.routingKey,
      messageId: String(properties.messageId ?? 'without id'),
    };
    await this.#spool.quarantineBytes(
      name,
      bytes,
      `message ${origin.messageId} to ${origin.exchange}/${origin.routingKey}: ${reason}`,
    );
    this.#log.warn({ ...origin, file: name, reason }, 'not a batch: quarantined');
  }
}
