import { randomBytes } from 'node:crypto';
import type { Channel } from 'amqplib';
import { amqpUrl } from '../helpers/services.ts';
import type { Scope } from './fault.ts';

/** Does something on a channel of a test's own, past whatever stands before the broker. */
export async function onBroker<T>(url: string, work: (channel: Channel) => Promise<T>): Promise<T> {
  const { default: amqplib } = await import('amqplib');
  const connection = await amqplib.connect(url, { timeout: 10_000 });
  connection.on('error', () => {});
  try {
    const channel = await connection.createChannel();
    channel.on('error', () => {});
    return await work(channel);
  } finally {
    await connection.close().catch(() => {});
  }
}

/** Takes an exchange, a queue and their dead letters off the broker. */
export async function deleteAll(url: string, name: string): Promise<void> {
  await onBroker(url, async (channel) => {
    for (const own of [name, `${name}.dead`]) {
      await channel.deleteQueue(own);
      await channel.deleteExchange(own);
    }
  });
}

/** A name for an exchange and a queue that nobody else uses; both go when the fault ends. */
export function ownExchange(scope: Pick<Scope, 'defer'>, url: string = amqpUrl()): string {
  const name = `dsac-torture-${randomBytes(8).toString('hex')}`;
  scope.defer(() => deleteAll(url, name));
  return name;
}
