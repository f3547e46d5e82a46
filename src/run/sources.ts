/** Runs the sources of one agent, keeps apart what is absent, what failed and what was read whole. */
import { reasonOf } from '../errors.ts';
import {
  type AgentContext,
  type InventoryAgent,
  type LogAgent,
  type LogEvent,
  SourceAbsent,
} from '../plugin/agent.ts';
import { type BatchEvent, eventSchema, type Fields, MAX_DEPTH, MAX_LINE } from '../spool/batch.ts';
import { isDeep } from '../spool/decode.ts';
import { isEvent } from '../spool/event-check.ts';
import type { Baseline } from './state.ts';

/** How one source fared, as the receipt tells it. */
export interface SourceOutcome {
  readonly name: string;
  readonly status: 'ok' | 'absent' | 'failed';
  readonly reason?: string;
  /** Items read (inventory) or events written (log). */
  readonly items?: number;
  readonly events?: number;
}

/** How a source that threw fared. */
export function outcomeOf(name: string, error: unknown): SourceOutcome {
  return { name, status: error instanceof SourceAbsent ? 'absent' : 'failed', reason: reasonOf(error) };
}

/**
 * The event's size as a line, in bytes. Throws, naming it `what`, when a reader would have to reject it (docs/format.md §1): better no batch than
 * one that is set aside.
 */
function lineSize(event: BatchEvent, what: string, most: number): number {
  if (!isEvent(event)) {
    const parsed = eventSchema.safeParse(event);
    if (!parsed.success) throw new Error(`${what}: ${reasonOf(parsed.error)}`);
  }
  const line = Buffer.from(JSON.stringify(event));
  if (line.length > most) throw new Error(`${what}: ${line.length} bytes, at most ${most} are allowed`);
  if (isDeep(line)) throw new Error(`${what}: nests deeper than ${MAX_DEPTH}`);
  return line.length;
}

/** Most that a source's inventory may hold: all of it is in memory, beside that of the agents that run with it. */
const MOST_ITEMS = 1_000_000;
const MOST_BYTES = 256 * 1024 * 1024;

/** The item's size as a line, in bytes. Both states of an item stand in one event when it changes: each may take half of a line. */
function soundSize(key: string, source: string, fields: Fields): number {
  const event = { time: new Date(0).toISOString(), action: 'present', item: key, source, after: fields };
  return lineSize(event, `item ${JSON.stringify(key.slice(0, 100))}`, MAX_LINE / 2);
}

/** The context that a source is called with. */
export type ContextOf = (source: string) => AgentContext;

async function readItems(agent: InventoryAgent, name: string, context: AgentContext): Promise<Baseline> {
  const items: Baseline = new Map();
  let size = 0;
  for await (const { key, fields } of agent.sources[name]!(context)) {
    if (items.has(key)) throw new Error(`two items with the key '${key}'`);
    const parsed = agent.fields.safeParse(fields);
    if (!parsed.success) {
      throw new Error(`item '${key}': ${reasonOf(parsed.error)}`);
    }
    const known = withoutUndefined(parsed.data);
    size += soundSize(key, name, known);
    if (items.size >= MOST_ITEMS || size > MOST_BYTES)
      throw new Error(`more than ${MOST_ITEMS} items or ${MOST_BYTES} bytes: too many for one inventory`);
    items.set(key, { key, source: name, fields: known });
  }
  context.signal.throwIfAborted();
  return items;
}

function withoutUndefined(fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

/**
 * Reads every source of an inventory agent. A source that is absent or fails contributes what the baseline has of it, so
 * that nothing of it looks removed.
 */
export async function readInventory(
  agent: InventoryAgent,
  contextOf: ContextOf,
  baseline: Baseline,
): Promise<{ items: Baseline; sources: SourceOutcome[] }> {
  const items: Baseline = new Map();
  const sources: SourceOutcome[] = [];
  for (const name of Object.keys(agent.sources)) {
    let read: Baseline;
    try {
      read = await readItems(agent, name, contextOf(name));
      const twice = [...read.keys()].find((key) => items.has(key));
      if (twice !== undefined) throw new Error(`another source has the key '${twice}' too`);
      sources.push({ name, status: 'ok', items: read.size });
    } catch (error) {
      sources.push(outcomeOf(name, error));
      read = new Map([...baseline].filter(([key, item]) => item.source === name && !items.has(key)));
    }
    for (const [key, item] of read) items.set(key, item);
  }
  return { items, sources };
}

/** Events of a log source up to a point that may be committed, and the cursor that stands behind them; or a part of these, when they are many. */
export interface Stretch {
  readonly source: string;
  readonly events: BatchEvent[];
  readonly cursor: unknown;
  /** Whether it ends at a place that the source named: what is not whole counts only together with what follows. */
  readonly whole: boolean;
  /** Rough size of the events in bytes. */
  readonly size: number;
}

/** A stretch is handed on when it holds this many events or bytes, so that memory does not grow with a log's length. */
const STRETCH_EVENTS = 5000;
const STRETCH_BYTES = 4 * 1024 * 1024;
/** One without a place behind it is cut at this many. */
const PART_EVENTS = 4 * STRETCH_EVENTS;
const PART_BYTES = 4 * STRETCH_BYTES;

function toEvent(agent: LogAgent, source: string, event: LogEvent): BatchEvent {
  const { time, action, item, before, after, by, data } = event;
  if (data !== undefined) {
    const parsed = agent.fields.safeParse(data);
    if (!parsed.success) throw new Error(`event '${action}' of ${time}: ${reasonOf(parsed.error)}`);
  }
  return {
    time,
    action,
    source,
    ...(item && { item }),
    ...(before && { before }),
    ...(after && { after }),
    ...(by && { by }),
    ...(data && { data }),
  };
}

/** Reads one log source in stretches. Throws as the source does; what came after the last stretch is then dropped, and read again next time. */
export async function* readStretches(
  agent: LogAgent,
  source: string,
  context: AgentContext,
  cursor: unknown,
): AsyncGenerator<Stretch> {
  let events: BatchEvent[] = [];
  let size = 0;
  let reached = cursor;
  /** Whether parts were handed on that wait for a place behind them. */
  let cut = false;
  for await (const entry of agent.sources[source]!(context, cursor)) {
    context.signal.throwIfAborted();
    if (entry.event) {
      const event = toEvent(agent, source, entry.event);
      size += lineSize(event, `event '${event.action}' of ${event.time}`, MAX_LINE);
      events.push(event);
    }
    const whole = entry.cursor !== undefined;
    if (whole) reached = entry.cursor;
    const enough = whole
      ? cut || events.length >= STRETCH_EVENTS || size >= STRETCH_BYTES
      : events.length >= PART_EVENTS || size >= PART_BYTES;
    if (!enough) continue;
    yield { source, events, cursor: reached, size, whole };
    events = [];
    size = 0;
    cut = !whole;
  }
  yield { source, events, cursor: reached, size, whole: true };
}
