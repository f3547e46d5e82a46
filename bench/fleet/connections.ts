/** What it costs a broker that every node connects for itself, and how many come in the same second. */
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import amqp from '../../dispatchers/amqp.ts';
import { crontab } from '../../src/cli/commands/cron.ts';
import { pathsBelow } from '../../src/config/paths.ts';
import { silentLog } from '../../src/log.ts';
import { consumeSchema, setUp } from '../../src/run/consume.ts';
import type { Batch } from '../../src/spool/batch.ts';
import { DEFAULT_QUOTA } from '../../src/spool/quota.ts';
import { deleteAll } from '../../test/torture/exchange.ts';
import { ServerMeter } from './meter.ts';

/** Nodes that connect at the same time. */
const AT_ONCE = 8;
/** `dsac cron` spreads over as many seconds. */
export const SPLAY_SECONDS = 300;

/** Connections as `dsac dispatch` makes them: open, look for the exchange, publish one batch, wait for the confirm, close. */
export interface Connecting {
  readonly perSecond: number;
  /** CPU seconds of the broker for each. */
  readonly broker: number;
}

/** Connects `count` times, eight at a time, each with one batch, from this one process; without TLS. */
export async function connecting(url: string, batch: Batch, count: number): Promise<Connecting> {
  const name = `dsac-fleet-${randomBytes(8).toString('hex')}`;
  const paths = pathsBelow(tmpdir());
  const meter = ServerMeter.at(url);
  await setUp(consumeSchema.parse({ url, exchange: name, queue: name }), paths.home);
  try {
    meter.read();
    const began = performance.now();
    const node = async (): Promise<void> => {
      const session = await amqp.open({
        name: 'broker',
        options: amqp.options.parse({ url, exchange: name }),
        paths,
        store: {},
        log: silentLog,
        quota: DEFAULT_QUOTA,
        signal: AbortSignal.timeout(60_000),
        print: () => {},
      });
      const [answer] = await session.deliver([{ batch, path: '' }]);
      await session.close();
      if (answer?.status !== 'delivered')
        throw new Error(`the broker did not take a batch: ${answer?.status}`);
    };
    let left = count;
    const worker = async (): Promise<void> => {
      while (left-- > 0) await node();
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    const seconds = (performance.now() - began) / 1000;
    return { perSecond: count / seconds, broker: meter.read() / count };
  } finally {
    await deleteAll(url, name);
  }
}

/** In which of 300 seconds a node's cron begins, out of the line that `dsac cron` prints for it. */
function secondOf(node: string): number {
  const [line = ''] = crontab('node', { command: (name) => name, key: node, consumes: false });
  const minute = /^(\d+)-59\/5 /.exec(line)?.[1] ?? '0';
  const second = /sleep (\d+);/.exec(line)?.[1] ?? '0';
  return Number(minute) * 60 + Number(second);
}

/** How many of these nodes begin in the busiest second of five minutes. */
export function busiestSecond(nodes: Iterable<string>): number {
  const seconds = new Uint32Array(SPLAY_SECONDS);
  for (const node of nodes) seconds[secondOf(node)]!++;
  return Math.max(...seconds);
}
