/** Runs a test against each database that a store can be, and makes the batches that it loads. */
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import type { CompiledQuery } from 'kysely';
import type { Batch, BatchEvent, Fields, Header } from '../../src/spool/batch.ts';
import { canonical, stateDigest } from '../../src/spool/canonical.ts';
import { openStore, Store } from '../../src/store/store.ts';
import { FakeNode } from '../helpers/batches.ts';
import { ownDatabase, servicesLeftOut } from '../helpers/services.ts';
import { temporary } from '../helpers/tree.ts';

/** Opens an empty store; it goes when the test ends. */
export async function sqliteStore(t: TestContext): Promise<Store> {
  const store = await openStore('sqlite:store.db', { home: temporary(t) });
  t.after(() => store.close());
  return store;
}

async function mysqlStore(t: TestContext): Promise<Store> {
  const url = await ownDatabase(t);
  const store = await openStore(url, { home: '/' });
  // Hooks run in the order in which they are set: the pool must be gone before the test process can end.
  t.after(() => store.close());
  return store;
}

/** One test per database. */
export function onEachStore(name: string, run: (t: TestContext, store: Store) => Promise<void>): void {
  test(`${name} (SQLite)`, async (t) => run(t, await sqliteStore(t)));
  test(`${name} (MySQL)`, { skip: servicesLeftOut }, async (t) => run(t, await mysqlStore(t)));
}

/** A store, and what is asked of it through it. */
export function watched(store: Store): { store: Store; questions: CompiledQuery[] } {
  const questions: CompiledQuery[] = [];
  const db = store.db.withPlugin({
    transformQuery: ({ node, queryId }) => {
      questions.push(store.db.getExecutor().compileQuery(node, queryId));
      return node;
    },
    transformResult: async ({ result }) => result,
  });
  return { store: new Store(db, store.dialect, store.label), questions };
}

/** A URL of an empty SQLite store below a temporary home. */
export function sqliteUrl(t: TestContext): string {
  return `sqlite:${join(temporary(t), 'store.db')}`;
}

/** `2026-11-23T02:05:00.000Z` for `02:05`, on a day of November 2026. */
export function at(clock: string, day = 23): string {
  const [hours = '00', minutes = '00', seconds = '00'] = clock.split(':');
  return `2026-11-${String(day).padStart(2, '0')}T${hours}:${minutes}:${seconds}.000Z`;
}

type Inventory = Readonly<Record<string, Fields>>;

/** A node with one inventory agent, which writes what changed between states. */
export class InventoryNode {
  readonly node: FakeNode;
  readonly agent: string;
  readonly #states = new Map<string, Inventory>();
  #last: string | undefined;

  constructor(node = new FakeNode(), agent = 'packages') {
    this.node = node;
    this.agent = agent;
  }

  #header(time: string, state: Inventory, epoch: string | undefined): Partial<Header> {
    const lines = Object.entries(state).map(([key, fields]) => [key, canonical(fields)] as const);
    const since = this.#last;
    this.#last = time;
    return {
      time,
      ...(since === undefined ? {} : { since }),
      ...(epoch === undefined ? {} : { epoch }),
      state: { items: lines.length, digest: stateDigest(lines) },
    };
  }

  /** The whole inventory. */
  snapshot(time: string, state: Inventory, epoch?: string): Batch {
    const events = Object.entries(state).map(
      ([item, after]): BatchEvent => ({ time, action: 'present', item, source: 'test', after }),
    );
    this.#states.set(epoch ?? '', state);
    return this.node.next(this.agent, 'snapshot', events, this.#header(time, state, epoch));
  }

  /** What differs from the last state of the epoch. */
  changes(time: string, state: Inventory, epoch?: string): Batch {
    const before = this.#states.get(epoch ?? '') ?? {};
    const events: BatchEvent[] = [];
    for (const item of new Set([...Object.keys(before), ...Object.keys(state)])) {
      const [was, is] = [before[item], state[item]];
      if (canonical(was ?? null) === canonical(is ?? null)) continue;
      const action = !was ? 'added' : is ? 'changed' : 'removed';
      events.push({
        time,
        action,
        item,
        source: 'test',
        ...(was && { before: was }),
        ...(is && { after: is }),
      });
    }
    this.#states.set(epoch ?? '', state);
    return this.node.next(this.agent, 'changes', events, this.#header(time, state, epoch));
  }
}

/** A receipts batch: one run of one agent. */
export function receipt(
  node: FakeNode,
  time: string,
  agent: string,
  run: {
    readonly head?: Batch;
    readonly seq?: number;
    readonly every_ms?: number;
    readonly outcome?: string;
  } = {},
): Batch {
  const { head, outcome = 'ok', every_ms = 3_600_000 } = run;
  const sha256 = head?.trailer.sha256 ?? 'f'.repeat(64);
  const epoch = head?.header.epoch ?? '20261101000000-aaaaaa';
  const seq = run.seq ?? head?.header.seq;
  const stream: Fields = seq === undefined ? {} : { stream: { epoch, seq, sha256 } };
  const data: Fields = {
    outcome,
    started: time,
    duration_ms: 12.5,
    events: 0,
    every_ms,
    sources: [],
    ...stream,
  };
  return node.next('receipts', 'receipt', [{ time, action: 'ran', item: `agent/${agent}`, data }], { time });
}
