/** Plain amqplib beside which DSAC is measured: everything from memory, nothing durable at this end. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ChannelModel, ConfirmChannel } from 'amqplib';
import { pack } from '../src/amqp/message.ts';
import { amqpUrl } from '../test/helpers/services.ts';
import { onBroker } from '../test/torture/exchange.ts';
import type { Stock } from './stock.ts';

/** Messages that may be with the consumer and not acknowledged, and unconfirmed at the publisher: those of DSAC. */
const AHEAD = 1000;
/** A consumer acknowledges so many at once. */
const ACKNOWLEDGE = 250;
const DEADLINE = 120_000;

type Message = Awaited<ReturnType<typeof pack>>;

/** A stock as the messages that DSAC makes of it. */
export async function messagesOf({ batches }: Pick<Stock, 'batches'>): Promise<Message[]> {
  return batches.map(pack);
}

/** How many messages wait in a queue. */
export async function waiting(queue: string): Promise<number> {
  return onBroker(amqpUrl(), async (channel) => (await channel.checkQueue(queue)).messageCount);
}

export async function purge(queue: string): Promise<void> {
  await onBroker(amqpUrl(), (channel) => channel.purgeQueue(queue));
}

async function connected<T>(work: (connection: ChannelModel) => Promise<T>): Promise<T> {
  const { default: amqplib } = await import('amqplib');
  const connection = await amqplib.connect(amqpUrl(), { timeout: 10_000 });
  try {
    return await work(connection);
  } finally {
    await connection.close();
  }
}

async function publishAll(
  channel: ConfirmChannel,
  exchange: string,
  messages: readonly Message[],
): Promise<void> {
  let open = 0;
  let goOn = (): void => {};
  for (const { routingKey, body, properties } of messages) {
    open++;
    channel.publish(exchange, routingKey, body, properties, () => {
      open--;
      goOn();
    });
    if (open < AHEAD) continue;
    await new Promise<void>((settle) => {
      goOn = settle;
    });
  }
  await channel.waitForConfirms();
}

/** Publishes messages, and answers the seconds from the first to the last confirm. */
export async function publish(exchange: string, messages: readonly Message[]): Promise<number> {
  return connected(async (connection) => {
    const channel = await connection.createConfirmChannel();
    const before = performance.now();
    await publishAll(channel, exchange, messages);
    return (performance.now() - before) / 1000;
  });
}

/** Takes `count` messages from a queue, and answers the seconds from the first to the last acknowledgement. */
export async function drain(queue: string, count: number): Promise<number> {
  return connected(async (connection) => {
    const channel = await connection.createChannel();
    await channel.prefetch(AHEAD);
    const before = performance.now();
    let taken = 0;
    await new Promise<void>((settle, reject) => {
      const alarm = setTimeout(() => reject(new Error(`${taken} of ${count} messages came`)), DEADLINE);
      channel
        .consume(queue, (message) => {
          if (message === null) return reject(new Error(`${queue} is gone`));
          taken++;
          if (taken % ACKNOWLEDGE === 0 || taken === count) channel.ack(message, true);
          if (taken < count) return;
          clearTimeout(alarm);
          settle();
        })
        .catch(reject);
    });
    // The broker answers in order: when it has closed the channel it has taken the last acknowledgement.
    await channel.close();
    return (performance.now() - before) / 1000;
  });
}

/** Waits until a queue has `count` messages; answers the seconds from the first of them, and how many came in that time. */
export async function arrival(
  queue: string,
  count: number,
  during: Promise<never>,
): Promise<{ seconds: number; messages: number }> {
  return onBroker(amqpUrl(), async (channel) => {
    const until = Date.now() + DEADLINE;
    let [first, began] = [0, 0];
    while (Date.now() < until) {
      const { messageCount } = await Promise.race([channel.checkQueue(queue), during]);
      if (first === 0 && messageCount > 0) [first, began] = [messageCount, performance.now()];
      if (messageCount >= count)
        return { seconds: (performance.now() - began) / 1000, messages: messageCount - first };
      await sleep(10);
    }
    throw new Error(`not ${count} messages in ${queue} after ${DEADLINE / 1000} s`);
  });
}
