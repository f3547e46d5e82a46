/** Turns messages into spool files: batches gathered into segments, what is no batch quarantined. What it has written is durable. */
import type { Message } from 'amqplib';
import { unpack } from '../amqp/message.ts';
import type { Log } from '../log.ts';
import { uuidv7 } from '../spool/encode.ts';
import { segmentNamer } from '../spool/names.ts';
import type { Spool } from '../spool/spool.ts';

/** A segment is written once it has this many batches or bytes. */
const SEGMENT_BATCHES = 500;
const SEGMENT_BYTES = 8 * 1024 * 1024;

export class Intake {
  readonly #spool: Spool;
  readonly #log: Log;
  readonly #segmentName: () => string;
  readonly #run: string;
  readonly #seen = new Set<string>();
  #batches: Buffer[] = [];
  #bytes = 0;
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

  /** Spools a group of messages; when it resolves they may be acknowledged. */
  async store(messages: readonly Message[]): Promise<void> {
    for (const message of messages) await this.#add(message);
    await this.#flush();
    this.#seen.clear();
  }

  async #add(message: Message): Promise<void> {
    this.count.messages++;
    const { batches, damages } = await unpack(message);
    for (const { bytes, compressed, reason } of damages)
      await this.#quarantine(message, bytes, compressed, reason);
    for (const batch of batches) {
      if (this.#seen.has(batch.trailer.sha256)) {
        this.count.duplicates++;
        continue;
      }
      this.#seen.add(batch.trailer.sha256);
      // A view would keep all that its message unfolded to, for as long as the segment is gathered.
      this.#batches.push(Buffer.from(batch.bytes));
      this.#bytes += batch.bytes.length;
    }
    if (this.#batches.length >= SEGMENT_BATCHES || this.#bytes >= SEGMENT_BYTES) await this.#flush();
  }

  async #flush(): Promise<void> {
    if (this.#batches.length === 0) return;
    await this.#spool.enter(this.#segmentName(), Buffer.concat(this.#batches));
    this.count.segments++;
    this.count.batches += this.#batches.length;
    this.count.bytes += this.#bytes;
    [this.#batches, this.#bytes] = [[], 0];
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
