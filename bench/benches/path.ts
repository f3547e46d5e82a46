/** The whole way on one machine: from an agent's spool to rows in the store, each command after the other, as cron would. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { pathsBelow } from '../../src/config/paths.ts';
import { amqpUrl } from '../../test/helpers/services.ts';
import { ownExchange } from '../../test/torture/exchange.ts';
import { absolute, type Bench, pairsOf, type Scope } from '../bench.ts';
import { dsac, home, wallMs } from '../commands.ts';
import { expected, fill, makeStock, type Stock } from '../stock.ts';

const BATCH_BYTES = 64 * 1024;
/** Batches: so many that commands work for several times as long as they take to start and to make a new store. */
const [FULL, QUICK] = [1000, 20];

/** Sends a stock all the way with these commands; answers events a second. */
async function travel(
  scope: Scope,
  stock: Stock,
  config: string,
  commands: readonly string[],
): Promise<number> {
  rmSync(join(scope.scratch, 'host'), { recursive: true, force: true });
  const path = await home(scope, 'host', config);
  fill(stock, pathsBelow(path).out);
  let ms = 0;
  for (const command of commands) ms += wallMs(dsac(command, '--home', path));
  using store = new DatabaseSync(join(path, 'var/lib/dsac/store.db'), { readOnly: true });
  expected(
    'events in the store',
    stock.events,
    Number(store.prepare('select count(*) as n from events').get()!.n),
  );
  return (1000 * stock.events) / ms;
}

export default {
  name: 'path',
  summary: 'events all the way from an agent’s spool to rows in the store, on one machine',
  services: true,
  async run(scope) {
    const stock = makeStock(scope, 'stock', {
      batches: scope.quick ? QUICK : FULL,
      batchBytes: BATCH_BYTES,
      nodes: 50,
    });
    const queue = ownExchange(scope);
    const broker = `url: ${amqpUrl()}, exchange: ${queue}`;
    const relay = `dispatchers: { broker: { type: amqp, ${broker} } }\nconsume: { ${broker}, queue: ${queue} }\n`;
    wallMs(dsac('consume', '--setup', '--home', await home(scope, 'setup', relay)));
    const [direct, relayed]: [number[], number[]] = [[], []];
    for (let n = 0; n < pairsOf(scope); n++) {
      direct.push(await travel(scope, stock, '', ['dispatch', 'process']));
      relayed.push(await travel(scope, stock, relay, ['dispatch', 'consume', 'process']));
    }
    const atLeast = 100_000;
    return [
      absolute('dispatch to the directory, process into SQLite', 'events/s', direct, { atLeast }),
      absolute('dispatch to RabbitMQ, consume, process into SQLite', 'events/s', relayed, { atLeast }),
    ];
  },
} satisfies Bench as Bench;
