/** Runs an agent's sources directly over a tree, as the runner does, and returns all that they yield. */
import { createHmac } from 'node:crypto';
import { System } from '../../src/host/system.ts';
import { silentLog } from '../../src/log.ts';
import {
  type Agent,
  type AgentContext,
  type InventoryAgent,
  type Item,
  type LogAgent,
  type LogEntry,
  SourceAbsent,
} from '../../src/plugin/agent.ts';

export interface Collected<T> {
  /** What each present source yielded. */
  readonly got: Record<string, T[]>;
  /** The reason of each absent source. */
  readonly absent: Record<string, string>;
}

export interface SourceRun {
  readonly root?: string;
  readonly options?: unknown;
  readonly cursors?: Record<string, unknown>;
  readonly now?: Date;
}

function contextFor(agent: Agent, run: SourceRun): AgentContext {
  return {
    options: agent.options.parse(run.options ?? {}),
    system: new System(run.root ?? '/'),
    log: silentLog,
    signal: AbortSignal.timeout(60_000),
    now: run.now ?? new Date(),
    digest: (secret) => createHmac('sha256', 'test key').update(secret).digest('hex').slice(0, 32),
    restsOn() {},
  };
}

async function collect<T>(
  names: string[],
  source: (name: string) => AsyncIterable<T> | Iterable<T>,
): Promise<Collected<T>> {
  const got: Record<string, T[]> = {};
  const absent: Record<string, string> = {};
  for (const name of names) {
    try {
      const all: T[] = [];
      for await (const one of source(name)) all.push(one);
      got[name] = all;
    } catch (error) {
      if (!(error instanceof SourceAbsent)) throw error;
      absent[name] = error.message;
    }
  }
  return { got, absent };
}

/** Every item of every present source, each validated against the agent's own field schema. */
export async function collectItems<O, F>(
  agent: InventoryAgent<O, F>,
  run: SourceRun = {},
): Promise<Collected<Item<F>>> {
  const context = contextFor(agent as unknown as Agent, run) as AgentContext<O>;
  const all = await collect(Object.keys(agent.sources), (name) => agent.sources[name]!(context));
  for (const items of Object.values(all.got)) for (const item of items) agent.fields.parse(item.fields);
  return all;
}

/** Every entry of every present source, each event's data validated against the agent's own field schema. */
export async function collectEntries<O, D>(
  agent: LogAgent<O, D>,
  run: SourceRun = {},
): Promise<Collected<LogEntry<D>>> {
  const context = contextFor(agent as unknown as Agent, run) as AgentContext<O>;
  const all = await collect(Object.keys(agent.sources), (name) =>
    agent.sources[name]!(context, run.cursors?.[name]),
  );
  for (const entries of Object.values(all.got))
    for (const { event } of entries) if (event?.data !== undefined) agent.fields.parse(event.data);
  return all;
}

/** The last cursor among entries, as it comes back from disk. */
export function lastCursor(entries: readonly LogEntry<unknown>[] | undefined): unknown {
  const cursor = entries?.findLast((entry) => entry.cursor !== undefined)?.cursor;
  return cursor === undefined ? undefined : JSON.parse(JSON.stringify(cursor));
}
