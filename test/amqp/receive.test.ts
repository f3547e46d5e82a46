import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connectBroker } from '../../src/amqp/broker.ts';
import { Receiver } from '../../src/amqp/receive.ts';
import { declareTopology } from '../../src/amqp/topology.ts';
import { consumeSchema } from '../../src/run/consume.ts';
import { ownQueue, servicesLeftOut } from '../helpers/services.ts';

test('P2: acknowledging a group acknowledges none that was asked for before it and is not in it', {
  skip: servicesLeftOut,
}, async (t) => {
  const options = consumeSchema.parse(ownQueue(t));
  const sender = await connectBroker(options, '/', 'test');
  t.after(() => sender.close());
  await declareTopology(sender, options);
  const { channel } = await sender.confirmChannel();
  const never = new AbortController().signal;
  // Which comes first, what was asked for or what is handed over behind it, is a matter of chance.
  for (let times = 0; times < 10; times++) {
    const all = Array.from({ length: 100 }, (_, n) => `${times}/${n}`);
    for (const text of all)
      channel.publish(options.exchange, 'dsac.x.y', Buffer.from(text), { persistent: true });
    await channel.waitForConfirms();
    const seen: string[] = [];
    const receive = async (prefetch: number, ...groups: number[]): Promise<void> => {
      const broker = await connectBroker(options, '/', 'test');
      const receiver = await Receiver.open(broker, options.queue, prefetch);
      for (const messages of groups) {
        const group = await receiver.take({ messages, bytes: 1e6, lingerMs: 2000 }, 2000, never);
        seen.push(...group.map(({ content }) => content.toString()));
        receiver.acknowledge(group.at(-1)!);
        await receiver.isEmpty();
      }
      await broker.close();
    };
    await receive(30, 30, 5);
    await receive(100, 65);
    assert.deepEqual(seen.sort(), all.sort());
  }
});
