/** The shapes of format version 1 (docs/format.md §1): header, event and trailer, as zod schemas and types. */
import * as z from 'zod';
import { nameSchema } from '../config/name.ts';
import { FORMAT_VERSION, MAX_SUCCESSION } from './limits.ts';

export * from './limits.ts';

/** Whether a time of the right form is one: Date.parse also takes 30 February and 24:00, and no database does. */
function exists(time: string): boolean {
  const ms = Date.parse(time);
  return Number.isFinite(ms) && new Date(ms).toISOString() === time;
}

/** UTC, RFC 3339, exactly three decimals. */
export const timeSchema = z
  .string()
  .regex(/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/, 'a UTC time with milliseconds')
  .refine(exists, 'a time that exists');
export const sha256Schema = z.string().regex(/^[0-9a-f]{64}$/, '64 hex digits');
export const uuidSchema = z
  .string()
  .regex(/^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/, 'a UUID in lower case');

export const kindSchema = z.enum(['snapshot', 'changes', 'log', 'receipt']);
export const epochSchema = z.string().regex(/^[0-9A-Za-z-]{1,40}$/, 'an epoch id');

export const successionSchema = z
  .array(z.object({ key: z.base64().length(44), sig: z.base64().length(88) }))
  .min(1)
  .max(MAX_SUCCESSION);

/** Where the events of a salvage come from: the damaged bytes, and what their header says, as far as it can be read. */
const salvageSchema = z.object({
  from: sha256Schema,
  reason: z.string(),
  lost: z.int().min(0),
  node: uuidSchema.optional(),
  host: z.string().min(1).max(255).optional(),
  agent: nameSchema.optional(),
  kind: kindSchema.optional(),
  epoch: epochSchema.optional(),
  seq: z.int().min(1).optional(),
});

export type Salvage = z.infer<typeof salvageSchema>;

export const headerSchema = z
  .object({
    dsac: z.literal(FORMAT_VERSION),
    id: uuidSchema,
    node: uuidSchema,
    host: z.string().min(1).max(255),
    agent: nameSchema,
    kind: kindSchema,
    epoch: epochSchema,
    seq: z.int().min(1),
    prev: sha256Schema.nullable(),
    time: timeSchema,
    since: timeSchema.optional(),
    boot: z.string().min(1).max(64).optional(),
    machine: z
      .string()
      .regex(/^[0-9a-f]{32}$/)
      .optional(),
    state: z.object({ items: z.int().min(0), digest: sha256Schema }).optional(),
    key: z.base64().length(44).optional(),
    succession: successionSchema.optional(),
    salvage: salvageSchema.optional(),
  })
  .refine((header) => (header.seq === 1) === (header.prev === null), {
    path: ['prev'],
    message: 'null exactly when seq is 1',
  })
  .refine(
    (header) => (header.kind === 'snapshot' || header.kind === 'changes') === (header.state !== undefined),
    {
      path: ['state'],
      message: 'present exactly on snapshot and changes',
    },
  );

/** Levels that a schema follows before it says no, far more than MAX_DEPTH, which has an error of its own; unbounded, the stack would end first. */
const DEEPEST = 1000;

/** Whether a value is plain JSON of at most `depth` levels. z.json() would say so too, but rebuild it without `__proto__`. */
function isJson(value: unknown, depth: number): boolean {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return true;
  if (typeof value === 'number') return Number.isFinite(value);
  if (typeof value !== 'object' || depth === 0) return false;
  if (Array.isArray(value)) return Object.values(value).every((member) => isJson(member, depth - 1));
  const form = Object.getPrototypeOf(value) as unknown;
  if (form !== Object.prototype && form !== null) return false;
  // Not Object.values, which takes memory for every object of every event that is read.
  for (const name in value)
    if (Object.hasOwn(value, name) && !isJson((value as Record<string, unknown>)[name], depth - 1))
      return false;
  return true;
}

/** Plain JSON under any names, `__proto__` among them. */
export type Fields = Record<string, z.core.util.JSONType>;

/** Whether `fieldsSchema` takes a value. */
export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && isJson(value, DEEPEST);
}

/** An item's or a record's fields, handed on as they are. */
export const fieldsSchema = z.custom<Fields>(isFields, 'an object of plain JSON');

export const bySchema = z.strictObject({
  user: z.string().optional().describe('account name, as the source recorded it'),
  uid: z.number().optional().describe('numeric user id'),
  command: z.string().optional().describe('the command line'),
  from: z.string().optional().describe('where the person came from: address or terminal'),
});

export const eventSchema = z.object({
  time: timeSchema,
  action: nameSchema,
  item: z
    .string()
    .min(1)
    .max(512)
    .regex(/^\P{Cc}*$/u, 'no control characters')
    .optional(),
  source: nameSchema.optional(),
  before: fieldsSchema.optional(),
  after: fieldsSchema.optional(),
  by: bySchema.optional(),
  data: fieldsSchema.optional(),
});

export const trailerSchema = z.object({
  end: z.literal(1),
  count: z.int().min(0),
  sha256: sha256Schema,
  sig: z.base64().length(88).optional(),
});

export type Kind = z.infer<typeof kindSchema>;
export type Header = z.infer<typeof headerSchema>;
export type BatchEvent = z.infer<typeof eventSchema>;
export type Trailer = z.infer<typeof trailerSchema>;
export type By = z.infer<typeof bySchema>;

/** Which stream a batch belongs to and where in it: the key that archive and store hold it under. */
export interface StreamKey {
  readonly node: string;
  readonly agent: string;
  readonly epoch: string;
}

/** A place in a stream and the digest of the batch there. */
export interface Head extends StreamKey {
  readonly seq: number;
  readonly sha256: string;
}

/** A batch's place and digest. */
export function headOf({ header, trailer }: Batch): Head {
  const { node, agent, epoch, seq } = header;
  return { node, agent, epoch, seq, sha256: trailer.sha256 };
}

/** A whole, undamaged batch with the bytes the node wrote. `events()` parses lazily and throws on a malformed event. */
export interface Batch {
  readonly header: Header;
  readonly trailer: Trailer;
  /** Header, events and trailer, exactly as written. */
  readonly bytes: Buffer;
  events(): Generator<BatchEvent>;
}
