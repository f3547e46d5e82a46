/**
 * Takes messages from a queue in groups and acknowledges them when told to. What the broker has handed over must be finished or it is
 * delivered again, and a quorum queue gives a message up after some deliveries: so `stop` ends only the handing over.
 */
import type { Message } from 'amqplib';
import { DestinationDown } from '../plugin/handler.ts';
import type { Broker, Opened } from './broker.ts';
import { pause } from './wait.ts';

/** Nothing may arrive for this long, in ms, to say that nothing is on its way. */
const QUIET = 150;
const NEVER = new AbortController().signal;

/** How much is taken at once, and how long a group waits for more, in ms. */
export interface GroupLimits {
  readonly messages: number;
  readonly bytes: number;
  readonly lingerMs: number;
}

export class Receiver {
  readonly #broker: Broker;
  readonly #opened: Opened;
  readonly #queue: string;
  readonly #consumer: string;
  readonly #gone = new AbortController();
  /** Aborts when handing over has ended, whoever ended it. */
  readonly gone: AbortSignal;
  readonly #prefetch: number;
  #waiting: Message[] = [];
  #bytes = 0;
  /** Delivery tags count up from 1: the last one handed over, and the last one acknowledged. */
  #handed = 0;
  #acknowledged = 0;
  #wake = (): void => {};

  private constructor(broker: Broker, opened: Opened, queue: string, consumer: string, prefetch: number) {
    this.#broker = broker;
    this.#opened = opened;
    this.#queue = queue;
    this.#consumer = consumer;
    this.#prefetch = prefetch;
    this.gone = AbortSignal.any([broker.lost, opened.closed, this.#gone.signal]);
    this.gone.addEventListener('abort', () => this.#wake(), { once: true });
  }

  /** Whether what has been handed over can still be acknowledged. */
  get alive(): boolean {
    return !this.#broker.lost.aborted && !this.#opened.closed.aborted;
  }

  /** Begins to consume; the broker hands over at most `prefetch` messages that are not acknowledged. */
  static async open(broker: Broker, queue: string, prefetch: number): Promise<Receiver> {
    const opened = await broker.channel();
    const consumer = `dsac-${process.pid}-${Date.now()}`;
    const receiver = new Receiver(broker, opened, queue, consumer, prefetch);
    const take = (message: Message | null): void => receiver.#arrived(message);
    try {
      await broker.reply(opened.channel.prefetch(prefetch));
      await broker.reply(opened.channel.consume(queue, take, { consumerTag: consumer }));
      return receiver;
    } catch (error) {
      throw opened.closed.aborted ? opened.closed.reason : error;
    }
  }

  #arrived(message: Message | null): void {
    if (message === null) {
      const reason = `${this.#broker.where} ended the consumer: queue '${this.#queue}' was deleted or moved`;
      this.#gone.abort(new DestinationDown(reason));
      return;
    }
    const { deliveryTag } = message.fields;
    // One that was asked for (isEmpty) is heard of after those handed over behind it, and acknowledging a message acknowledges all before it.
    const behind = this.#waiting.findLastIndex(({ fields }) => fields.deliveryTag < deliveryTag) + 1;
    // A body is a view of a socket's buffer, which would be kept whole for it.
    this.#waiting.splice(behind, 0, { ...message, content: Buffer.from(message.content) });
    this.#bytes += message.content.length;
    this.#handed = Math.max(this.#handed, deliveryTag);
    this.#wake();
  }

  /** The next group: waits up to `idleMs` for its first message, then until it is full, `lingerMs` have passed or `hurry` aborts. Empty when nothing came. */
  async take(limits: GroupLimits, idleMs: number, hurry: AbortSignal): Promise<Message[]> {
    if (this.#waiting.length === 0) await this.#until(() => this.#waiting.length > 0, idleMs, hurry);
    if (this.#waiting.length === 0) return [];
    const full = (): boolean => this.#waiting.length >= limits.messages || this.#bytes >= limits.bytes;
    await this.#until(full, limits.lingerMs, hurry);
    return this.#cut(limits);
  }

  /** Waits until `enough`, at most `ms`, and no longer than handing over goes on. */
  async #until(enough: () => boolean, ms: number, hurry: AbortSignal): Promise<void> {
    const wake = new AbortController();
    this.#wake = () => {
      if (enough() || this.gone.aborted) wake.abort();
    };
    this.#wake();
    await pause(ms, AbortSignal.any([wake.signal, hurry]));
    this.#wake = () => {};
  }

  #cut({ messages, bytes }: GroupLimits): Message[] {
    let size = 0;
    let count = 0;
    while (count < Math.min(messages, this.#waiting.length) && size < bytes)
      size += this.#waiting[count++]!.content.length;
    this.#bytes -= size;
    return this.#waiting.splice(0, count);
  }

  /**
   * Whether the queue was empty and nothing is on its way here; what it gets instead is there to be taken. It asks for a message, not for
   * the count: a quorum queue that does not answer within 250 ms is counted as 0 (seen with a suspended leader, RabbitMQ 3.10). And
   * twice: what was handed over before the first answer comes before the second, as both come through one channel.
   */
  async isEmpty(): Promise<boolean> {
    try {
      for (let times = 0; times < 2; times++) {
        const message = await this.#broker.reply(this.#opened.channel.get(this.#queue));
        if (message) this.#arrived(message);
        if (this.#waiting.length > 0) return false;
      }
      return true;
    } catch (error) {
      throw this.gone.aborted ? this.gone.reason : error;
    }
  }

  /** Acknowledges everything up to and including `last`. Throws when handing over has ended with the channel: it will all come again. */
  acknowledge(last: Message): void {
    this.#broker.lost.throwIfAborted();
    this.#opened.closed.throwIfAborted();
    this.#opened.channel.ack(last, true);
    this.#acknowledged = last.fields.deliveryTag;
  }

  /**
   * Ends handing over; what has been handed over is still to be taken and acknowledged. What is on its way when a consumer is cancelled
   * never arrives and counts as a delivery, so it waits until nothing can be on its way: the window is full, or it is quiet.
   */
  async stop(): Promise<void> {
    const full = (): boolean => this.#handed - this.#acknowledged >= this.#prefetch;
    for (let before = -1; before !== this.#handed && !full() && !this.gone.aborted; ) {
      before = this.#handed;
      await this.#until(full, QUIET, NEVER);
    }
    if (this.gone.aborted) return;
    await this.#broker.reply(this.#opened.channel.cancel(this.#consumer));
  }

  /** Closes the channel: when it resolves, the broker has acted on every acknowledgement. */
  async close(): Promise<void> {
    if (!this.gone.aborted) await this.#broker.reply(this.#opened.channel.close());
  }
}
