/**
 * What a dispatcher or a processor is: both take batches from a spool and answer for each. The runner
 * (src/run/deliver.ts) routes, groups, times, retries and gives up; a handler only delivers.
 */
import type * as z from 'zod';
import type { Paths } from '../config/paths.ts';
import type { Log } from '../log.ts';
import type { Batch } from '../spool/batch.ts';
import type { Quota } from '../spool/quota.ts';

/** A batch on its way to a handler: the batch, and the spool file it is in (a segment may hold others too). */
export interface Parcel {
  readonly batch: Batch;
  readonly path: string;
}

/**
 * The answer for one batch. `deferred`: try this batch again later, counted against it. `refused`: the destination has no room now; nothing
 * is counted against the batch, and the handler backs off. `rejected`: this batch will never be taken; it goes to `failed/` with the reason.
 */
export type Answer =
  | { readonly status: 'delivered' }
  | { readonly status: 'deferred' | 'refused' | 'rejected'; readonly reason: string };

export const DELIVERED: Answer = { status: 'delivered' };

/** Thrown by a handler when the destination, not a batch, is the trouble: nothing is counted against any batch, and the handler backs off. */
export class DestinationDown extends Error {
  override readonly name = 'DestinationDown';
}

export interface HandlerContext<O = unknown> {
  /** The handler's configured name: `broker`, `store`. */
  readonly name: string;
  readonly options: O;
  readonly paths: Paths;
  /** The database that reports read, as configured. */
  readonly store: StoreAddress;
  readonly log: Log;
  /** How much a spool that it fills may hold. */
  readonly quota: Quota;
  /** Aborted when the deadline passes or the run is told to stop. */
  readonly signal: AbortSignal;
  /** For handlers that print: writes text for people to stdout. */
  print(text: string): void;
}

/** Where a store is: its URL and the file with its password; what is left out is the default. */
export interface StoreAddress {
  readonly url?: string | undefined;
  readonly password_file?: string | undefined;
}

/** An open handler. */
export interface Session {
  /**
   * Delivers a group of batches (never empty) and answers for each, in order. Throws `DestinationDown` when nothing could be
   * delivered; after any other error the runner hands the same batches again one by one, so that one bad batch is set aside alone.
   */
  deliver(parcels: readonly Parcel[]): Promise<Answer[]>;
  /** Lets go of everything within a deadline of its own; called once, also after errors. */
  close(): Promise<void>;
}

export interface Handler<O = unknown> {
  readonly name: string;
  readonly summary: string;
  readonly options: z.ZodType<O>;
  /** Most batches handed over at once; 1 when each is its own transaction. Default 256. */
  readonly group?: number;
  /** Connects. Throws `DestinationDown` when the destination cannot be reached. Called only when there is something to deliver. */
  open(context: HandlerContext<O>): Promise<Session>;
}

// biome-ignore lint/suspicious/noExplicitAny: a registry holds handlers of every option type
export type AnyHandler = Handler<any>;

/** Defines a dispatcher: a handler of the node's spool. */
export function defineDispatcher<O>(handler: Handler<O>): Handler<O> {
  return handler;
}

/** Defines a processor: a handler of the central spool. */
export function defineProcessor<O>(handler: Handler<O>): Handler<O> {
  return handler;
}
