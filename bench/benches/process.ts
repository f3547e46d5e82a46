/** What the centre does with events: archive and store, into either database; and how much of it is the proof that they are genuine. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { pathsBelow } from '../../src/config/paths.ts';
import { absolute, alternate, type Bench, compared, pairsOf, type Scope } from '../bench.ts';
import { dsac, home, wallMs } from '../commands.ts';
import { dropDatabase, loadData, newDatabase, rowsIn, unloaded } from '../database.ts';
import { shareOf } from '../profile.ts';
import { expected, fill, makeStock, type Stock } from '../stock.ts';

const BATCH_BYTES = 64 * 1024;
/** Batches: so many that commands work for several times as long as they take to start and to make a new store. */
const [FULL, QUICK] = [1000, 20];
/** What proves a batch: its digest, its signature, whether its node may sign so, and the centre's own chain of heads. */
const PROOF = new Set(['badSignature', 'objection', 'admit']);

/** Makes a centre in whose spool a stock lies. */
async function centre(scope: Scope, stock: Stock, store: string): Promise<string> {
  rmSync(join(scope.scratch, 'centre'), { recursive: true, force: true });
  const path = await home(scope, 'centre', store);
  fill(stock, pathsBelow(path).in);
  return path;
}

/** Processes a stock into SQLite; answers the seconds of that. */
async function intoSqlite(scope: Scope, stock: Stock): Promise<number> {
  const path = await centre(scope, stock, '');
  const seconds = wallMs(dsac('process', '--home', path)) / 1000;
  using store = new DatabaseSync(join(path, 'var/lib/dsac/store.db'), { readOnly: true });
  expected(
    'events in the store',
    stock.events,
    Number(store.prepare('select count(*) as n from events').get()!.n),
  );
  return seconds;
}

/** Processes a stock into a MariaDB of its own; answers the seconds of that. */
async function intoMariaDb(scope: Scope, stock: Stock, url: string): Promise<number> {
  const path = await centre(scope, stock, `store: { url: '${url}' }\n`);
  const seconds = wallMs(dsac('process', '--home', path)) / 1000;
  expected('events in the store', stock.events, await rowsIn(url, 'events'));
  return seconds;
}

export default {
  name: 'process',
  summary: 'events from the central spool into archive and store, beside LOAD DATA of the same rows',
  services: true,
  async run(scope) {
    const stock = makeStock(scope, 'stock', {
      batches: scope.quick ? QUICK : FULL,
      batchBytes: BATCH_BYTES,
      nodes: 50,
    });
    const speed = (seconds: number): number => stock.events / seconds;
    const sqlite: number[] = [];
    for (let n = 0; n < pairsOf(scope); n++) sqlite.push(speed(await intoSqlite(scope, stock)));

    const rows = await newDatabase(scope);
    await intoMariaDb(scope, stock, rows);
    const file = await unloaded(rows, 'events');
    const mariadb = await alternate(
      pairsOf(scope),
      async () => {
        const own = await newDatabase(scope);
        const seconds = await intoMariaDb(scope, stock, own);
        await dropDatabase(own);
        return speed(seconds);
      },
      async () => speed(await loadData(rows, 'events', file)),
    );

    const shares: number[] = [];
    for (let n = 0; n < (scope.quick ? 1 : 3); n++) {
      const path = await centre(scope, stock, '');
      shares.push(
        shareOf(
          scope,
          dsac('process', '--home', path),
          ({ functionName, url }) => PROOF.has(functionName) || url.startsWith('node:internal/crypto/'),
        ),
      );
    }
    return [
      absolute('process: archive and SQLite', 'events/s', sqlite, { atLeast: 250_000 }),
      compared('process: archive and MariaDB, and LOAD DATA', 'events/s', mariadb, { atLeast: 0.7 }),
      absolute('process: digests, signatures, chains', '% of CPU', shares, { atMost: 15 }),
    ];
  },
} satisfies Bench as Bench;
