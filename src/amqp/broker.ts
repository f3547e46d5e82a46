/**
 * One connection to a broker that cannot hang or crash the process: connecting and closing have deadlines, and each way in which a
 * connection ends (an error, a broker's shutdown, silence) aborts `lost` with a reason for people.
 */
import type { Writable } from 'node:stream';
import type { Channel, ChannelModel, ConfirmChannel } from 'amqplib';
import { errorCode, reasonOf } from '../errors.ts';
import { DestinationDown } from '../plugin/handler.ts';
import { type Incoming, readAnyProperties } from './frames.ts';
import { type BrokerOptions, brokerName, endpointOf, isEncrypted, tlsOf } from './options.ts';
import { within } from './wait.ts';

/** How long to wait for a reply on an open connection, in ms. */
const REPLY_TIMEOUT = 20_000;
/** How long a close may take before the socket is destroyed, in ms. */
const CLOSE_TIMEOUT = 3_000;

/** OpenSSL's verification errors by Node's names, https://nodejs.org/api/tls.html#x509-certificate-error-codes */
const UNTRUSTED = /^(?:DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_|CERT_UNTRUSTED)/;

/** The broker closed a channel: `code` is 404 for something that is not there, 403 without permission, 406 for what it cannot accept. */
export class ChannelClosed extends Error {
  override readonly name = 'ChannelClosed';
  readonly code: number | undefined;

  constructor(error: unknown) {
    super(brokersWords(error), { cause: error });
    this.code =
      error instanceof Error && 'code' in error && typeof error.code === 'number' ? error.code : undefined;
  }
}

/** A channel, and a signal that aborts with `ChannelClosed` when the broker closes it. A lost connection aborts the broker's `lost` instead. */
export interface Opened<C extends Channel = Channel> {
  readonly channel: C;
  readonly closed: AbortSignal;
}

/** The broker's own words out of amqplib's `Channel closed by server: 404 (NOT-FOUND) with message "…"`. */
export function brokersWords(error: unknown): string {
  const reason = reasonOf(error);
  return /with message "([\s\S]*)"/.exec(reason)?.[1] ?? reason;
}

/** What kept us from connecting, and what to do about it. */
function explain(error: unknown, where: string, username: string | undefined): DestinationDown {
  const reason = brokersWords(error);
  const code = errorCode(error) ?? '';
  const said = (what: string): DestinationDown => new DestinationDown(what, { cause: error });
  if (reason.startsWith('ACCESS_REFUSED'))
    return said(`${where} refused the login of '${username}': check username and password_file`);
  if (reason.startsWith('Expected ConnectionOpenOk'))
    return said(`${where} refused: there is no such vhost, or '${username}' has no permission on it`);
  if (UNTRUSTED.test(code))
    return said(
      `${where}: its certificate is not trusted: ${reason}; set tls.ca to the authority that signed it`,
    );
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return said(
      `${where}: its certificate is for another name: ${reason}; set tls.servername, or the URL’s host`,
    );
  if (reason.includes('wrong version number'))
    return said(`${where} does not speak TLS on that port: use amqp://, or the port for TLS (5671)`);
  return said(`cannot connect to ${where}: ${reason}`);
}

export class Broker {
  /** Its address without user and password. */
  readonly where: string;
  readonly #model: ChannelModel;
  readonly #socket: AbortController;
  readonly #lost = new AbortController();
  readonly #blocked = new AbortController();

  constructor(where: string, model: ChannelModel, socket: AbortController) {
    this.where = where;
    this.#model = model;
    this.#socket = socket;
    readAnyProperties(model.connection as unknown as Incoming);
    let reason = 'the broker closed the connection';
    model.on('error', (error) => {
      reason = brokersWords(error);
    });
    // A broker that is shut down emits only `close`.
    model.on('close', () => this.#lost.abort(new DestinationDown(`${where}: connection lost: ${reason}`)));
    model.on('blocked', (why) =>
      this.#blocked.abort(new DestinationDown(`${where} takes no messages now (blocked: ${why})`)),
    );
  }

  /** Aborts with a `DestinationDown` when the connection is gone. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** Aborts with a `DestinationDown` when the broker says that it takes no messages (memory or disk alarm). */
  get blocked(): AbortSignal {
    return this.#blocked.signal;
  }

  /** What a reply gives; `DestinationDown` when it does not come. */
  async reply<T>(work: Promise<T>): Promise<T> {
    try {
      return await within(work, REPLY_TIMEOUT, `${this.where}: no reply`);
    } catch (error) {
      // amqplib says only that its connection or channel is not open.
      this.lost.throwIfAborted();
      throw error;
    }
  }

  /** Lets what is written wait until `uncork`, so that it leaves in few pieces: amqplib writes two or more for a message. */
  cork(): void {
    this.#stream?.cork();
  }

  uncork(): void {
    this.#stream?.uncork();
  }

  /** The socket, which amqplib's types leave out. */
  get #stream(): Writable | undefined {
    return (this.#model.connection as { readonly stream?: Writable }).stream;
  }

  /** Opens a channel. */
  async channel(): Promise<Opened> {
    return heard(await this.reply(this.#model.createChannel()));
  }

  /** Opens a channel with publisher confirms. */
  async confirmChannel(): Promise<Opened<ConfirmChannel>> {
    return heard(await this.reply(this.#model.createConfirmChannel()));
  }

  /** Says goodbye, so that everything sent before has arrived; after the deadline the socket is destroyed. Never throws. */
  async close(): Promise<void> {
    if (!this.lost.aborted) await within(this.#model.close(), CLOSE_TIMEOUT, 'not closed').catch(() => {});
    this.#socket.abort();
  }
}

/** Hears a channel's end: an `error` event without a listener would end the process. */
function heard<C extends Channel>(channel: C): Opened<C> {
  const closed = new AbortController();
  channel.on('error', (error) => closed.abort(new ChannelClosed(error)));
  return { channel, closed: closed.signal };
}

/** Connects within `connect_timeout`. `purpose` names the connection in the broker's own listings. Throws `DestinationDown`, or `config` errors for files. */
export async function connectBroker(options: BrokerOptions, home: string, purpose: string): Promise<Broker> {
  const where = brokerName(options.url);
  const endpoint = await endpointOf(options, home);
  const tls = isEncrypted(options.url) ? await tlsOf(options, home) : {};
  const { default: amqplib } = await import('amqplib');
  const socket = new AbortController();
  // amqplib hands these to net.connect or tls.connect, where `signal` destroys the socket.
  const socketOptions = {
    ...tls,
    signal: socket.signal,
    noDelay: true,
    timeout: options.connect_timeout,
    clientProperties: { connection_name: purpose },
  };
  const connecting = amqplib.connect(endpoint, socketOptions);
  try {
    const model = await within(connecting, options.connect_timeout, `${where}: no answer`);
    return new Broker(where, model, socket);
  } catch (error) {
    socket.abort();
    connecting.catch(() => {});
    throw error instanceof DestinationDown ? error : explain(error, where, endpoint.username);
  }
}
