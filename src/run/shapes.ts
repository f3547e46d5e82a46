/** The shapes of what runs leave for the next one: an agent's state and baseline, notes of runs without a receipt, what people were told. */
import * as z from 'zod';
import { epochSchema, fieldsSchema, sha256Schema, timeSchema } from '../spool/batch.ts';

const basisSchema = z.strictObject({
  /** Keyed digest of all else that matters: this build of DSAC, the agent's settings, whose process it was. */
  by: z.string(),
  /** When it was read, and until when it holds. */
  time: timeSchema,
  until: timeSchema.nullable(),
  /** The stamps of its files (src/host/stamp.ts). */
  stamps: z.array(z.strictObject({ paths: z.array(z.string()), sha256: sha256Schema })),
  /** How its sources fared, and how many items they have. */
  sources: z.array(
    z.strictObject({
      name: z.string(),
      status: z.enum(['ok', 'absent']),
      reason: z.string().optional(),
      items: z.int().optional(),
      events: z.int().optional(),
    }),
  ),
  items: z.int().optional(),
});

/** What a reading rests on (basis.ts). */
export type Basis = z.infer<typeof basisSchema>;

export const stateSchema = z.strictObject({
  version: z.literal(1),
  /** The tree that was looked at; another one begins a new epoch. */
  root: z.string(),
  epoch: epochSchema,
  seq: z.int().min(0),
  /** The trailer's sha256 of batch `seq`. */
  head: z.string().nullable(),
  /** When the agent last ran to its end. */
  ran: timeSchema.nullable(),
  /** When the inventory was last sent whole. */
  snapshot: timeSchema.nullable(),
  baseline: z.string().nullable(),
  /** SHA-256 of that file: half a baseline would make the other half look new. */
  baseline_sha256: z.string().nullable(),
  /** Sources that have been read at least once in this epoch. */
  known: z.array(z.string()),
  cursors: z.record(z.string(), z.json()),
  /** Batches that are committed but may still lie in `tmp`. */
  pending: z.array(z.string()),
  /** Inode of the `tmp` that they were written to; null where it is not known. */
  staged_in: z.int().nullable().default(null),
  /** Batches committed earlier that were looked for in another `tmp` than theirs: they may come back with it. */
  astray: z.array(z.string()).default([]),
  /** What the last reading rests on, where it rests on files alone. */
  basis: basisSchema.nullable().default(null),
});

export type AgentState = z.infer<typeof stateSchema>;

export const baselineLine = z.strictObject({ key: z.string(), source: z.string(), fields: fieldsSchema });

/** One item as the baseline keeps it. */
export type BaselineItem = z.infer<typeof baselineLine>;

export const stoppedSchema = z.strictObject({
  since: timeSchema,
  last: timeSchema,
  runs: z.int().min(1),
  reason: z.string(),
});

/** Runs that left no receipt: since when, until when, how many, why the last one did not. */
export type Stopped = z.infer<typeof stoppedSchema>;

export const toldSchema = z.record(z.string(), z.strictObject({ reason: z.string(), time: z.string() }));

export type Told = z.infer<typeof toldSchema>;
