/**
 * Publishes with proof: a message counts as delivered when the broker has confirmed it and has not returned it. An unroutable message is
 * confirmed too, so its `return`, which always comes first, is remembered by message id.
 */
import { setImmediate } from 'node:timers/promises';
import type { ConfirmChannel } from 'amqplib';
import { orAbort } from '../abort.ts';
import { DestinationDown } from '../plugin/handler.ts';
import type { Broker, Opened } from './broker.ts';
import type { Outgoing } from './message.ts';

/** What the broker did with a message. */
export type Outcome =
  | { readonly status: 'confirmed' }
  | { readonly status: 'returned' | 'refused'; readonly reason: string };

/** What amqplib says when the broker answers a publish with basic.nack. */
const NACKED = 'message nacked';
const CONFIRMED: Outcome = { status: 'confirmed' };
/** Bytes after which what was written leaves, and what has come in is heard, before more is packed. */
const TURN = 64 * 1024;

export class Publisher {
  readonly #broker: Broker;
  readonly #exchange: string;
  readonly #silenceMs: number;
  readonly #returned = new Map<string, string>();
  #opened: Opened<ConfirmChannel> | undefined;

  /** `silenceMs`: how long the broker may confirm nothing while messages wait for it. */
  constructor(broker: Broker, exchange: string, silenceMs: number) {
    this.#broker = broker;
    this.#exchange = exchange;
    this.#silenceMs = silenceMs;
  }

  /**
   * Publishes `count` messages as one window and tells what became of each, in order. When the connection is lost, blocked or silent midway, those
   * that have no answer yet count as refused: what is confirmed need not be sent again, so that a bad line is got over piece by piece. Throws
   * `DestinationDown` where not one has an answer, and `ChannelClosed` when the broker closes the channel; what it had confirmed until then
   * may be sent again.
   */
  async publish(messages: Iterable<Outgoing>, count: number): Promise<Outcome[]> {
    const silence = new Silence(this.#silenceMs, `${this.#broker.where}: confirmed nothing`);
    const outcomes: (Outcome | undefined)[] = Array.from({ length: count });
    try {
      await this.#window(messages, outcomes, silence);
      return outcomes.map((outcome) => outcome!);
    } catch (error) {
      if (!(error instanceof DestinationDown) || outcomes.every((outcome) => outcome === undefined))
        throw error;
      return outcomes.map((outcome) => outcome ?? { status: 'refused', reason: error.message });
    } finally {
      silence.end();
      this.#returned.clear();
    }
  }

  /** Sends all and waits until each has its outcome. */
  async #window(
    messages: Iterable<Outgoing>,
    outcomes: (Outcome | undefined)[],
    silence: Silence,
  ): Promise<void> {
    const { channel, closed } = await this.#open();
    const trouble = AbortSignal.any([this.#broker.lost, this.#broker.blocked, closed, silence.signal]);
    const all = Promise.withResolvers<void>();
    let [sent, unanswered] = [0, outcomes.length];
    trouble.throwIfAborted();
    const send = (message: Outgoing): void => {
      const at = sent++;
      this.#send(channel, message, silence, (outcome) => {
        outcomes[at] = outcome;
        if (--unanswered === 0) all.resolve();
      });
    };
    await this.#inTurns(messages, trouble, send);
    await orAbort(all.promise, trouble);
  }

  /** Sends messages, and lets others have their turn in between. */
  async #inTurns(
    messages: Iterable<Outgoing>,
    trouble: AbortSignal,
    send: (message: Outgoing) => void,
  ): Promise<void> {
    let bytes = 0;
    this.#broker.cork();
    try {
      for (const message of messages) {
        send(message);
        bytes += message.body.length;
        if (bytes < TURN) continue;
        bytes = 0;
        await setImmediate();
        trouble.throwIfAborted();
        this.#broker.uncork();
        this.#broker.cork();
      }
    } finally {
      this.#broker.uncork();
    }
  }

  /** The channel, a new one when the broker has closed the last. */
  async #open(): Promise<Opened<ConfirmChannel>> {
    if (this.#opened && !this.#opened.closed.aborted) return this.#opened;
    this.#broker.lost.throwIfAborted();
    const opened = await this.#broker.confirmChannel();
    opened.channel.on('return', ({ fields, properties }) => {
      const { replyCode, replyText } = fields as { replyCode?: number; replyText?: string };
      this.#returned.set(String(properties.messageId), `${replyCode} ${replyText}`);
    });
    this.#opened = opened;
    return opened;
  }

  #send(
    channel: ConfirmChannel,
    { routingKey, body, properties }: Outgoing,
    silence: Silence,
    resolve: (outcome: Outcome) => void,
  ): void {
    // It may be more than the socket takes: a window is bounded by who makes it.
    channel.publish(this.#exchange, routingKey, body, properties, (error: unknown) => {
      silence.broken();
      const returned = this.#returned.get(properties.messageId);
      if (error instanceof Error) {
        // Else the channel is closed: its signal says why, and whoever waits here hears of it.
        if (error.message === NACKED)
          resolve({ status: 'refused', reason: 'the broker refused it (nack): is the queue full?' });
      } else if (returned !== undefined) resolve({ status: 'returned', reason: returned });
      else resolve(CONFIRMED);
    });
  }
}

/** A deadline that every sign of life puts off. */
class Silence {
  readonly #controller = new AbortController();
  readonly #timer: NodeJS.Timeout;

  constructor(ms: number, what: string) {
    this.#timer = setTimeout(
      () => this.#controller.abort(new DestinationDown(`${what} for ${ms / 1000} s`)),
      ms,
    );
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  broken(): void {
    this.#timer.refresh();
  }

  end(): void {
    clearTimeout(this.#timer);
  }
}
