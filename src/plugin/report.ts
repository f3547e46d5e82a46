/** What a report is: a question to the store, answered row by row. Formats, files and the head line are the runner's. */
import type * as z from 'zod';
import type { Store } from '../store/store.ts';

/** The window and the nodes that a report is about. */
export interface Scope {
  readonly since: Date;
  readonly until: Date;
  /** Ids of the nodes asked for, or undefined for all. */
  readonly nodes: readonly string[] | undefined;
  readonly now: Date;
}

/** How a column looks in a table; JSON, NDJSON and CSV carry every field of a row under its own name. */
export interface Column<R> {
  readonly key: keyof R & string;
  readonly title?: string;
  /** The cell's text; default: the value itself, times cut to seconds. */
  text?(row: R): string;
}

export interface Report<R = Record<string, unknown>> {
  readonly name: string;
  readonly summary: string;
  /** `--since` when none is given: `7d`. */
  readonly since: string;
  /** Every field of a row, each with `.describe(…)`; the order of fields in CSV and JSON. */
  readonly row: z.ZodType<R>;
  readonly columns: readonly Column<R>[];
  rows(store: Store, scope: Scope): AsyncIterable<R>;
}

// biome-ignore lint/suspicious/noExplicitAny: a registry holds reports of every row type
export type AnyReport = Report<any>;

/** Defines a report. */
export function defineReport<R>(report: Report<R>): Report<R> {
  return report;
}
