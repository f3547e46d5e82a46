import * as z from 'zod';
import { type Broker, ChannelClosed, connectBroker } from '../src/amqp/broker.ts';
import { pack } from '../src/amqp/message.ts';
import { brokerKeys, isTlsUsed, TLS_UNUSED } from '../src/amqp/options.ts';
import { type Outcome, Publisher } from '../src/amqp/publish.ts';
import { hasExchange } from '../src/amqp/topology.ts';
import { durationSchema } from '../src/config/schema.ts';
import {
  type Answer,
  DELIVERED,
  DestinationDown,
  defineDispatcher,
  type Parcel,
} from '../src/plugin/handler.ts';

const SET_UP = 'run dsac consume --setup on the central host';

const options = z
  .strictObject({
    ...brokerKeys,
    exchange: z.string().min(1).max(255).default('dsac').describe('topic exchange to publish to'),
    confirm_timeout: durationSchema
      .prefault('30s')
      .describe('how long the broker may confirm nothing while messages wait for it'),
  })
  .refine(isTlsUsed, TLS_UNUSED);

/** Why the broker closed the channel: what only one batch can be blamed for is its answer, the rest is the destination's trouble. */
function answerClosed(error: ChannelClosed, exchange: string, where: string, count: number): Answer[] {
  if (error.code === 404)
    throw new DestinationDown(`${where} has no exchange '${exchange}': ${SET_UP}`, { cause: error });
  if (error.code === 403)
    throw new DestinationDown(`${where}: may not publish to '${exchange}': ${error.message}`, {
      cause: error,
    });
  // 406 is for a message larger than the broker takes. Among several, the runner finds out which by trying each alone.
  if (error.code === 406 && count === 1) return [{ status: 'rejected', reason: error.message }];
  throw error;
}

function answer(outcome: Outcome): Answer {
  if (outcome.status === 'confirmed') return DELIVERED;
  if (outcome.status === 'refused') return { status: 'refused', reason: outcome.reason };
  return { status: 'deferred', reason: `no queue is bound for it (${outcome.reason}): ${SET_UP}` };
}

/** Where not one message was taken, the trouble is the destination's: a queue that is full or not yet bound must not use up the batches' tries. */
function answersOf(outcomes: readonly Outcome[], where: string): Answer[] {
  const answers = outcomes.map(answer);
  const first = answers[0];
  if (first && first.status !== 'delivered' && answers.every(({ status }) => status !== 'delivered'))
    throw new DestinationDown(`${where}: ${first.reason}`);
  return answers;
}

function* packed(parcels: readonly Parcel[]) {
  for (const { batch } of parcels) yield pack(batch);
}

async function requireExchange(broker: Broker, exchange: string): Promise<void> {
  if (!(await hasExchange(broker, exchange)))
    throw new DestinationDown(`${broker.where} has no exchange '${exchange}': ${SET_UP}`);
}

export default defineDispatcher({
  name: 'amqp',
  summary: 'publishes to RabbitMQ: topic exchange, persistent, confirmed by the broker',
  options,
  // So many small ones go out together that waiting for the last one's confirm is little beside sending them.
  group: 1024,
  async open({ options, name, paths }) {
    const { exchange, confirm_timeout } = options;
    const broker = await connectBroker(options, paths.home, `dsac dispatch ${name}`);
    try {
      await requireExchange(broker, exchange);
    } catch (error) {
      await broker.close();
      throw error;
    }
    const publisher = new Publisher(broker, exchange, confirm_timeout);
    return {
      async deliver(parcels) {
        try {
          return answersOf(await publisher.publish(packed(parcels), parcels.length), broker.where);
        } catch (error) {
          if (error instanceof ChannelClosed)
            return answerClosed(error, exchange, broker.where, parcels.length);
          throw error;
        }
      },
      close: () => broker.close(),
    };
  },
});
