/**
 * Reads what can still be read of damaged batches. What was read is no evidence any more: no signature covers it, and what lay between is not known. So it
 * never goes on as the batch that it was, but only as a salvage (docs/format.md §6).
 */
import { createHash } from 'node:crypto';
import { reasonOf } from '../errors.ts';
import {
  type Batch,
  type BatchEvent,
  type Header,
  headerSchema,
  MAX_LINE,
  type Salvage,
  trailerSchema,
} from './batch.ts';
import type { Decoded } from './decode.ts';
import { EVENT_START, HEADER_START, linesOf, parseEvent, startsWith, TRAILER_START } from './decode.ts';

/** An event that was read, and the line of its batch that it stood on, the header's being 1. */
interface SalvagedEvent {
  readonly line: number;
  readonly event: BatchEvent;
}

/** One damaged batch, as far as it can be read. */
export interface Wreck {
  readonly origin: Salvage;
  /** When it was made, as far as its header or its events tell. */
  readonly time: string;
  readonly events: readonly SalvagedEvent[];
}

/** The members of a header that say where it belongs, each for itself: a header with one bad member still has the others. */
const ORIGIN = ['node', 'host', 'agent', 'kind', 'epoch', 'seq'] as const;

function members(line: Buffer): Partial<Header> {
  let value: Record<string, unknown>;
  try {
    value = JSON.parse(line.toString()) as Record<string, unknown>;
  } catch {
    return {};
  }
  const found = [...ORIGIN, 'time' as const].flatMap((name) => {
    const parsed = headerSchema.shape[name].safeParse(value[name]);
    return parsed.success ? [[name, parsed.data] as const] : [];
  });
  return Object.fromEntries(found) as Partial<Header>;
}

/** How many events a trailer counts; 0 when it cannot be read. */
function counted(line: Buffer): number {
  try {
    return trailerSchema.shape.count.parse((JSON.parse(line.toString()) as { count: unknown }).count);
  } catch {
    return 0;
  }
}

/** One damaged batch: from its header, if it has one, to where the next begins. */
function wreckOf(bytes: Buffer, reason: string): Wreck | undefined {
  let header: Partial<Header> = {};
  let said = 0;
  let unread = 0;
  let number = 0;
  const events: SalvagedEvent[] = [];
  for (const line of linesOf(bytes)) {
    number++;
    if (startsWith(line, 0, HEADER_START)) header = line.length > MAX_LINE ? {} : members(line);
    else if (startsWith(line, 0, TRAILER_START)) said = Math.max(said, counted(line));
    else {
      const event = readEvent(line);
      if (event === undefined) unread++;
      else events.push({ line: number, event });
    }
  }
  if (events.length === 0) return undefined;
  const { time, ...origin } = header;
  const latest = events.reduce((last, { event }) => (event.time > last ? event.time : last), '');
  return {
    origin: {
      from: createHash('sha256').update(bytes).digest('hex'),
      reason: reason.slice(0, 500),
      lost: Math.max(unread, said - events.length),
      ...origin,
    },
    time: time ?? latest,
    events,
  };
}

function readEvent(line: Buffer): BatchEvent | undefined {
  if (line.length > MAX_LINE || !startsWith(line, 0, EVENT_START)) return undefined;
  try {
    return parseEvent(line, '');
  } catch {
    return undefined;
  }
}

/** The places in damaged bytes where a batch may begin: where they start, and every line that starts like a header. */
function* stretches(bytes: Buffer): Generator<Buffer> {
  let start = 0;
  for (let at = bytes.indexOf(HEADER_START, 1); at >= 0; at = bytes.indexOf(HEADER_START, at + 1)) {
    if (bytes[at - 1] !== 0x0a) continue;
    yield bytes.subarray(start, at);
    start = at;
  }
  yield bytes.subarray(start);
}

/** Why a batch cannot be loaded although its bytes are as they were written; undefined when it can. */
function badEvents(batch: Batch): string | undefined {
  try {
    for (const _ of batch.events());
    return undefined;
  } catch (error) {
    return reasonOf(error);
  }
}

/** What can be read of each damaged batch of a file. Those that are whole are left out: routing has sent them on. */
export function* wrecksOf(decoded: readonly Decoded[]): Generator<Wreck> {
  for (const { batch, damage } of decoded) {
    const reason = damage?.reason ?? badEvents(batch!);
    if (reason === undefined) continue;
    for (const bytes of damage ? stretches(damage.bytes) : [batch!.bytes]) {
      const wreck = wreckOf(bytes, reason);
      if (wreck) yield wreck;
    }
  }
}
