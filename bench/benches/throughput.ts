/** Events on their way through a broker, durable at both ends: from a node's spool into a quorum queue, and from there into the centre's. */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { pathsBelow } from '../../src/config/paths.ts';
import { amqpUrl } from '../../test/helpers/services.ts';
import { ownExchange } from '../../test/torture/exchange.ts';
import {
  alternate,
  type Bench,
  compared,
  type Line,
  leftOut,
  NOT_QUICK,
  type Pair,
  pairsOf,
  type Scope,
} from '../bench.ts';
import { drain, messagesOf, publish, purge, waiting } from '../broker.ts';
import { dsac, home, lacks, wallMs } from '../commands.ts';
import { empty, expected, filesIn, fill, makeStock, type Stock } from '../stock.ts';
import { eventsASecond } from '../syslog-ng.ts';

const MB = 1_000_000;
/** Bytes of all batches that a figure is taken from: so many that commands work for longer than they take to start. */
const [FULL, QUICK] = [192 * MB, 2 * MB];

interface Place {
  readonly name: string;
  readonly home: string;
}

/** The seconds that `dsac dispatch` takes from the spool into the queue, from its start to its end. */
async function dispatched({ name, home }: Place, stock: Stock): Promise<number> {
  const { out } = pathsBelow(home);
  await purge(name);
  fill(stock, out);
  const seconds = wallMs(dsac('dispatch', 'broker', '--home', home)) / 1000;
  expected('messages in the queue', stock.batches.length, await waiting(name));
  expected('files left in the spool', 0, filesIn(out, 'queue/broker'));
  return seconds;
}

/** The seconds that `dsac consume` takes from the queue into fsynced segments; it must not leave before the queue is empty. */
function consumed({ home }: Place, stock: Stock): number {
  const segments = empty(pathsBelow(home).in);
  const seconds = wallMs(dsac('consume', '--home', home)) / 1000;
  const sizes = readdirSync(segments).map((name) => statSync(join(segments, name)).size);
  expected(
    'bytes in segments',
    stock.bytes,
    sizes.reduce((sum, size) => sum + size, 0),
  );
  return seconds;
}

const perSecond = (amount: number, pairs: readonly Pair[]): Pair[] =>
  pairs.map(({ ours, theirs }) => ({ ours: amount / ours, theirs: amount / theirs }));

/** A stock on its way out and back. */
class Freight {
  readonly #scope: Scope;
  readonly #place: Place;
  readonly #kib: number;
  readonly #stock: Stock;

  constructor(scope: Scope, place: Place, kib: number) {
    const batchBytes = kib * 1024;
    const batches = Math.ceil((scope.quick ? QUICK : FULL) / batchBytes);
    [this.#scope, this.#place, this.#kib] = [scope, place, kib];
    this.#stock = makeStock(scope, `stock-${kib}`, { batches, batchBytes });
  }

  /** Events a second that `dsac dispatch` brings into the queue. */
  async events(): Promise<number> {
    return this.#stock.events / (await dispatched(this.#place, this.#stock));
  }

  async lines(): Promise<Line[]> {
    const [place, stock] = [this.#place, this.#stock];
    const messages = await messagesOf(stock);
    const republish = async (): Promise<number> => {
      await purge(place.name);
      return publish(place.name, messages);
    };
    const out = await alternate(pairsOf(this.#scope), () => dispatched(place, stock), republish);
    const back = await alternate(
      pairsOf(this.#scope),
      async () => {
        await republish();
        return consumed(place, stock);
      },
      async () => {
        await republish();
        return drain(place.name, messages.length);
      },
    );
    const mbs = (pairs: readonly Pair[]): Pair[] => perSecond(stock.bytes / MB, pairs);
    const of = `${this.#kib} KiB batches, and bare amqplib`;
    return [
      compared(`spool to RabbitMQ, ${of}`, 'MB/s', mbs(out), { atLeast: 0.8 }),
      compared(`RabbitMQ to segments, ${of}`, 'MB/s', mbs(back), { atLeast: 0.6 }),
    ];
  }
}

async function besideSyslogNg(scope: Scope, place: Place, freight: Freight): Promise<Line> {
  const title = 'spool to RabbitMQ, and syslog-ng through a reliable disk buffer';
  const packages = ['syslog-ng-core', 'syslog-ng-mod-amqp'];
  const why = scope.quick ? NOT_QUICK : lacks(scope, 'syslog-ng', packages);
  if (why !== undefined) return leftOut(title, why);
  const pairs = await alternate(
    pairsOf(scope),
    () => freight.events(),
    async () => {
      await purge(place.name);
      return eventsASecond(scope, place.name, 40_000);
    },
  );
  return compared(title, 'events/s', pairs, { atLeast: 30 });
}

export default {
  name: 'throughput',
  summary: 'events through a broker, durable at both ends, beside bare amqplib and syslog-ng',
  services: true,
  async run(scope) {
    const name = ownExchange(scope);
    const broker = `url: ${amqpUrl()}, exchange: ${name}`;
    const config = `dispatchers: { broker: { type: amqp, ${broker} } }\nconsume: { ${broker}, queue: ${name} }\n`;
    const place = { name, home: await home(scope, 'host', config) };
    wallMs(dsac('consume', '--setup', '--home', place.home));
    const lines: Line[] = [];
    let freight: Freight | undefined;
    for (const kib of [16, 64]) {
      freight = new Freight(scope, place, kib);
      lines.push(...(await freight.lines()));
    }
    return [...lines, await besideSyslogNg(scope, place, freight!)];
  },
} satisfies Bench as Bench;
