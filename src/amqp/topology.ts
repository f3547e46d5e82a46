/**
 * What DSAC needs a broker to have: a topic exchange that nodes publish to, and a quorum queue that the centre consumes from. What the
 * queue gives up on (its delivery limit) goes to a queue of its own, never away.
 */
import type { Channel } from 'amqplib';
import { DsacError } from '../errors.ts';
import { type Broker, ChannelClosed } from './broker.ts';

export interface Topology {
  readonly exchange: string;
  readonly queue: string;
}

/** Every batch: `dsac.<agent>.<node>`. */
const BINDING = 'dsac.#';

/** Exchange and queue for messages that `queue` gives up on. */
export function deadLetters(queue: string): string {
  return `${queue}.dead`;
}

/**
 * The queue's arguments. Reject-publish: a queue with a length limit (a policy's) refuses new messages instead of dropping old ones.
 * Dead-lettering at-least-once: a message leaves only when the dead letter queue has it (RabbitMQ 3.10, needs reject-publish).
 */
function queueArguments(queue: string): Record<string, string> {
  return {
    'x-queue-type': 'quorum',
    'x-overflow': 'reject-publish',
    'x-dead-letter-exchange': deadLetters(queue),
    'x-dead-letter-strategy': 'at-least-once',
  };
}

/**
 * The arguments of the queue for what `queue` gave up on. Nothing is behind it, so it must never give up itself, as RabbitMQ 4 does after 20
 * deliveries unless told otherwise; a limit that is never reached is what all versions understand.
 */
const DEAD_ARGUMENTS = { 'x-queue-type': 'quorum', 'x-delivery-limit': 2 ** 31 - 1 };

/** Runs one step on a channel of its own, since the broker closes the channel of a step that fails. Throws `ChannelClosed` with its code. */
async function alone<T>(broker: Broker, step: (channel: Channel) => Promise<T>): Promise<T> {
  const { channel, closed } = await broker.channel();
  try {
    const done = await broker.reply(step(channel));
    await broker.reply(channel.close());
    return done;
  } catch (error) {
    throw closed.aborted ? closed.reason : error;
  }
}

function refused(what: string, wanted: string, broker: Broker, error: unknown): unknown {
  if (!(error instanceof ChannelClosed)) return error;
  if (error.code === 403)
    return new DsacError('noperm', `${broker.where}: may not declare ${what}: ${error.message}`, {
      cause: error,
      hint: 'give the account permission to configure it, or let an administrator run dsac consume --setup',
    });
  if (error.code === 406)
    return new DsacError(
      'config',
      `${broker.where}: ${what} exists with other arguments: ${error.message}; wanted ${wanted}`,
      {
        cause: error,
        hint: 'delete it there once it is empty, or configure another name',
      },
    );
  return error;
}

async function declare(
  broker: Broker,
  what: string,
  wanted: string,
  step: (channel: Channel) => Promise<unknown>,
): Promise<void> {
  try {
    await alone(broker, step);
  } catch (error) {
    throw refused(what, wanted, broker, error);
  }
}

async function declareQueue(
  broker: Broker,
  queue: string,
  args: Record<string, string | number>,
): Promise<void> {
  await declare(broker, `queue '${queue}'`, `durable, ${JSON.stringify(args)}`, (channel) =>
    channel.assertQueue(queue, { durable: true, arguments: args }),
  );
}

async function declareExchange(broker: Broker, exchange: string, type: 'topic' | 'fanout'): Promise<void> {
  await declare(broker, `exchange '${exchange}'`, `durable, of type ${type}`, (channel) =>
    channel.assertExchange(exchange, type, { durable: true }),
  );
}

/** Declares exchange, queue, dead letter exchange and queue, and the bindings between; what exists alike stays. Throws `config` where it exists otherwise. */
export async function declareTopology(broker: Broker, { exchange, queue }: Topology): Promise<void> {
  const dead = deadLetters(queue);
  await declareExchange(broker, dead, 'fanout');
  // One that is there may be of another version, and full.
  if ((await queueLength(broker, dead)) === undefined) await declareQueue(broker, dead, DEAD_ARGUMENTS);
  await alone(broker, (channel) => channel.bindQueue(dead, dead, ''));
  await declareExchange(broker, exchange, 'topic');
  await declareQueue(broker, queue, queueArguments(queue));
  await alone(broker, (channel) => channel.bindQueue(queue, exchange, BINDING));
}

/** How many messages wait in a queue, as far as the broker knows at once (0 when the queue is slow to answer); undefined when there is no such queue. */
export async function queueLength(broker: Broker, queue: string): Promise<number | undefined> {
  try {
    return (await alone(broker, (channel) => channel.checkQueue(queue))).messageCount;
  } catch (error) {
    if (error instanceof ChannelClosed && error.code === 404) return undefined;
    throw error;
  }
}

/** Whether the broker has an exchange. */
export async function hasExchange(broker: Broker, exchange: string): Promise<boolean> {
  try {
    await alone(broker, (channel) => channel.checkExchange(exchange));
    return true;
  } catch (error) {
    if (error instanceof ChannelClosed && error.code === 404) return false;
    throw error;
  }
}
