/** Opens handlers as the runner does, and lets a test be the runner. */
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type Paths, pathsBelow } from '../../src/config/paths.ts';
import type { Log } from '../../src/log.ts';
import { silentLog } from '../../src/log.ts';
import type { Handler, Parcel, Session } from '../../src/plugin/handler.ts';
import type { Batch } from '../../src/spool/batch.ts';
import { batchFile } from '../../src/spool/names.ts';
import { DEFAULT_QUOTA } from '../../src/spool/quota.ts';
import { Spool } from '../../src/spool/spool.ts';
import { temporary } from './tree.ts';

/** A home with a spool, and handlers at work in it. */
export class Counter {
  readonly paths: Paths;
  readonly spool: Spool;
  readonly signal: AbortController = new AbortController();
  printed = '';
  log: Log = silentLog;
  readonly #t: TestContext;

  constructor(t: TestContext) {
    this.paths = pathsBelow(temporary(t));
    this.spool = new Spool(this.paths.out);
    this.#t = t;
  }

  /** Opens a handler with options as they stand in a configuration; it is closed when the test ends. */
  async open<O>(handler: Handler<O>, options: unknown): Promise<Session> {
    const session = await handler.open({
      name: 'under-test',
      options: handler.options.parse(options),
      paths: this.paths,
      store: {},
      log: this.log,
      quota: DEFAULT_QUOTA,
      signal: this.signal.signal,
      print: (text) => {
        this.printed += text;
      },
    });
    this.#t.after(() => session.close());
    return session;
  }

  /** Parcels of batches, each in a spool file of its own. */
  async files(...batches: Batch[]): Promise<Parcel[]> {
    await this.spool.create();
    for (const batch of batches) await this.spool.enter(batchFile(batch.header), batch.bytes);
    return batches.map((batch) => ({
      batch,
      path: join(this.spool.directory('new'), batchFile(batch.header)),
    }));
  }

  /** Parcels of batches that are together in one segment. */
  async segment(...batches: Batch[]): Promise<Parcel[]> {
    await this.spool.create();
    const name = 'segment.019aa5a5-7f2b-7cc3-98c4-dc0c0c07398f.0000000001.jsonl';
    await this.spool.enter(name, Buffer.concat(batches.map(({ bytes }) => bytes)));
    return batches.map((batch) => ({ batch, path: join(this.spool.directory('new'), name) }));
  }
}
