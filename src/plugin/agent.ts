/**
 * What an agent is. An agent only collects: the runner (src/run/collect.ts) finds out which sources are there, times
 * them, compares an inventory with its baseline, names streams, signs and spools.
 */
import type * as z from 'zod';
import type { Stamp } from '../host/stamp.ts';
import type { System } from '../host/system.ts';
import type { Log } from '../log.ts';
import type { By, Fields } from '../spool/batch.ts';

/** Thrown by a source that does not exist on this node: neither an error nor an empty inventory. */
export class SourceAbsent extends Error {
  override readonly name = 'SourceAbsent';
}

/** Ends a source's run with "source absent" and the reason: `return absent('no /var/lib/dpkg')`. */
export function absent(reason: string): never {
  throw new SourceAbsent(reason);
}

export interface AgentContext<O = unknown> {
  /** The agent's own options, parsed by its schema. */
  readonly options: O;
  /** The machine to look at, through `--rootfs`. */
  readonly system: System;
  readonly log: Log;
  /** Aborted when the agent's deadline passes or the run is told to stop. */
  readonly signal: AbortSignal;
  /** When this run began. */
  readonly now: Date;
  /** A keyed digest of a secret (HMAC-SHA-256 with a key that never leaves the node; 32 hex digits): shows that it changed, not what it is. */
  digest(secret: string): string;
  /**
   * Says that what this source yields in this run rests on nothing but these files, stamped before they were read (src/host/stamp.ts), until a moment
   * where time alone may bring something new. While no file has changed, later runs take it as read and do not call the source. To be left out where
   * anything else matters: what a running program says, the present time.
   */
  restsOn(stamp: Stamp, until?: Date): void;
}

/** One thing in an inventory. `key` is stable and unique within the agent: `dpkg/openssl/amd64`. */
export interface Item<F = Fields> {
  readonly key: string;
  readonly fields: F;
}

/** One item's change, as the runner found it. `before` is undefined when it was not there, `after` when it is gone. */
export type Change<F = Fields> =
  | { readonly key: string; readonly source: string; readonly before: undefined; readonly after: F }
  | { readonly key: string; readonly source: string; readonly before: F; readonly after: undefined }
  | { readonly key: string; readonly source: string; readonly before: F; readonly after: F };

/** One step of a change in the agent's own words. */
export interface Step<F = Fields> {
  /** One of the agent's `actions`. */
  readonly action: string;
  /** The fields that this step changes, when a change has several steps; the last step takes what is left. */
  readonly fields?: readonly (keyof F & string)[];
  /** When it happened, when the source knows; RFC 3339 UTC with milliseconds. Else the time of the run. */
  readonly time?: string | undefined;
  readonly by?: By;
}

/** Yields every item of one source, throws `absent(…)` when the source is not there, or anything else when it cannot be read whole. */
export type InventorySource<O, F> = (context: AgentContext<O>) => AsyncIterable<Item<F>> | Iterable<Item<F>>;

/** An agent for the set of things that are. */
export interface InventoryAgent<O = unknown, F = Fields> {
  readonly type: 'inventory';
  readonly name: string;
  readonly summary: string;
  /** How often it is due unless the configuration says otherwise: `1h`. */
  readonly every: string;
  readonly options: z.ZodType<O>;
  /** Every field of an item, each with `.describe(…)`. */
  readonly fields: z.ZodType<F>;
  /** The words for what happens to an item, each with its meaning. */
  readonly actions: Readonly<Record<string, string>>;
  /** Names what happened to an item; one step, or several that happened in this order. */
  describe(change: Change<F>): Step<F> | readonly Step<F>[];
  /** The places it collects from. An item belongs to its source: while a source is absent or fails, its items stay as they were. */
  readonly sources: Readonly<Record<string, InventorySource<O, F>>>;
}

/** One thing that happened. */
export interface LogEvent<D = Fields> {
  /** The source's own time, RFC 3339 UTC with milliseconds. */
  readonly time: string;
  /** One of the agent's `actions`. */
  readonly action: string;
  readonly item?: string;
  readonly before?: Fields;
  readonly after?: Fields;
  readonly by?: By;
  readonly data?: D;
}

/** What a log source yields: an event, where the log stands behind it, or both. A cursor is plain JSON and only ever stored with all events before it. */
export interface LogEntry<D = Fields> {
  readonly event?: LogEvent<D>;
  readonly cursor?: unknown;
}

/** Yields what happened since `cursor` (undefined on the first run: all there is), oldest first. */
export type LogSource<O, D> = (
  context: AgentContext<O>,
  cursor: unknown,
) => AsyncIterable<LogEntry<D>> | Iterable<LogEntry<D>>;

/** An agent for things that happened. */
export interface LogAgent<O = unknown, D = Fields> {
  readonly type: 'log';
  readonly name: string;
  readonly summary: string;
  readonly every: string;
  readonly options: z.ZodType<O>;
  /** Every field of an event's `data`, each with `.describe(…)`. */
  readonly fields: z.ZodType<D>;
  readonly actions: Readonly<Record<string, string>>;
  readonly sources: Readonly<Record<string, LogSource<O, D>>>;
}

/** An agent that is what its options make of it; it runs only where it is configured. */
export interface ConfiguredAgent<O = unknown> {
  readonly type: 'configured';
  readonly name: string;
  readonly summary: string;
  readonly every: string;
  readonly options: z.ZodType<O>;
  /** The agent that these options describe, under its configured name. */
  create(name: string, options: O): Agent;
}

// biome-ignore-start lint/suspicious/noExplicitAny: a registry holds agents of every option and field type
/** An agent that can run. */
export type Agent = InventoryAgent<any, any> | LogAgent<any, any>;

/** What a file in agents/ may hold. */
export type AnyAgent = Agent | ConfiguredAgent<any>;
// biome-ignore-end lint/suspicious/noExplicitAny: see above

/** Defines an agent for the set of things that are: packages, services, accounts. */
export function defineInventory<O, F>(agent: Omit<InventoryAgent<O, F>, 'type'>): InventoryAgent<O, F> {
  return { type: 'inventory', ...agent };
}

/** Defines an agent for things that happened, read from logs behind cursors. */
export function defineLog<O, D>(agent: Omit<LogAgent<O, D>, 'type'>): LogAgent<O, D> {
  return { type: 'log', ...agent };
}

/** Defines an agent whose kind and words come from its configuration. */
export function defineConfigured<O>(agent: Omit<ConfiguredAgent<O>, 'type'>): ConfiguredAgent<O> {
  return { type: 'configured', ...agent };
}
