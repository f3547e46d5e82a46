/** A spool's handlers as configured, and what one run of them is about. */
import { join, matchesGlob } from 'node:path';
import type { Paths } from '../config/paths.ts';
import type { Log } from '../log.ts';
import type { AnyHandler, StoreAddress } from '../plugin/handler.ts';
import type { Quota } from '../spool/quota.ts';
import type { Gate } from '../spool/route.ts';
import type { Spool } from '../spool/spool.ts';

/** One dispatcher or processor as configured. */
export interface Post {
  readonly name: string;
  readonly handler: AnyHandler;
  readonly options: unknown;
  /** Names or globs of agents. */
  readonly agents: readonly string[];
  readonly deadlineMs: number;
  /** Tries for a batch that fails by its own fault. */
  readonly attempts: number;
}

/** What the configuration, once checked, says of one dispatcher or processor: plain JSON. */
export interface PlannedPost extends Omit<Post, 'handler'> {
  /** Which handler it is, and in which folder. */
  readonly type: string;
  readonly folder: 'dispatchers' | 'processors';
}

/** The post, with its handler loaded. */
export async function postOf({ type, folder, ...post }: PlannedPost): Promise<Post> {
  const { loadPlugin } = await import('../plugin/registry.ts');
  return { ...post, handler: await loadPlugin(folder, type) };
}

export interface DeliverRun {
  readonly spool: Spool;
  /** `out` or `in`: keeps the two stacks' handler states apart. */
  readonly stack: 'out' | 'in';
  readonly paths: Paths;
  /** The database that reports read, as configured. */
  readonly store: StoreAddress;
  readonly log: Log;
  readonly clock: () => Date;
  readonly random: () => number;
  readonly signal: AbortSignal;
  readonly print: (text: string) => void;
  /** Names of posts to drive, or undefined for all; named ones are tried although they back off. */
  readonly only: readonly string[] | undefined;
  /** What decides which batches are routed; without it, all. */
  readonly gate?: Gate | undefined;
  /** How much a central spool on this host may hold. */
  readonly quota: Quota;
}

/** How one handler's run went, in batches. */
export interface Delivery {
  readonly handler: string;
  /** `broken`: DSAC's own state of the handler cannot be read or kept; nobody but a person can mend that. */
  readonly outcome: 'ok' | 'down' | 'busy' | 'waiting' | 'broken';
  readonly delivered: number;
  readonly deferred: number;
  readonly failed: number;
  readonly reason?: string;
  readonly failingSince?: string;
}

/** Whether an agent's batches are wanted by a post. */
export function wants(post: Pick<Post, 'agents'>, agent: string): boolean {
  // Any name matches `*`, which is what most want; to find that out Node loads a library.
  return post.agents.some((glob) => glob === '*' || glob === agent || matchesGlob(agent, glob));
}

/** The directory that holds what is remembered of a stack's handlers. */
export function handlersDirectory(paths: Paths, stack: 'out' | 'in'): string {
  return join(paths.lib, 'handlers', stack);
}
