/**
 * One row per login, attempt, boot …, from all sources that tell of it. Pure. The same thing told by two sources (wtmp and the journal, say) is
 * known by its action, user and time, and by whatever else both say of it; one source's two events are always two things.
 */
import { z } from 'zod';
import type { SessionEvent } from './events.ts';

/** How far apart two sources' times of one thing may be, in milliseconds. */
const APART = 3000;

/** What this reads of an event's data; the `logins` agent describes all of it. */
const dataSchema = z.looseObject({
  user: z.string().optional().catch(undefined),
  tty: z.string().optional().catch(undefined),
  from: z.string().optional().catch(undefined),
  service: z.string().optional().catch(undefined),
  method: z.string().optional().catch(undefined),
  as: z.string().optional().catch(undefined),
  command: z.string().optional().catch(undefined),
  reason: z.string().optional().catch(undefined),
  duration_s: z.number().optional().catch(undefined),
  count: z.number().optional().catch(undefined),
});

export interface LoginRow {
  readonly time: string;
  readonly node: string;
  readonly host: string;
  readonly action: string;
  readonly user: string | null;
  readonly tty: string | null;
  readonly from: string | null;
  readonly service: string | null;
  readonly end: string | null;
  readonly duration_s: number | null;
  readonly reason: string | null;
  readonly as: string | null;
  readonly command: string | null;
  readonly method: string | null;
  readonly count: number;
  readonly source: string | null;
}

/** When the session ended and how long it was. */
function ending(event: SessionEvent): Pick<LoginRow, 'end' | 'duration_s' | 'reason'> {
  const own = dataSchema.parse(event.data ?? {});
  const { action, time, logout } = event;
  if (!logout)
    return {
      end: action === 'logout' ? time : null,
      duration_s: own.duration_s ?? null,
      reason: own.reason ?? null,
    };
  const { duration_s, reason } = dataSchema.parse(logout.data ?? {});
  const measured = (Date.parse(logout.time) - Date.parse(time)) / 1000;
  return { end: logout.time, duration_s: duration_s ?? measured, reason: reason ?? null };
}

/** One event as a row. */
export function loginRow(event: SessionEvent): LoginRow {
  const { time, node, host, action, source, by } = event;
  const data = dataSchema.parse(event.data ?? {});
  return {
    time,
    node,
    host,
    action,
    user: data.user ?? by?.user ?? null,
    tty: data.tty ?? null,
    from: data.from ?? by?.from ?? null,
    service: data.service ?? null,
    ...ending(event),
    as: data.as ?? null,
    command: data.command ?? by?.command ?? null,
    method: data.method ?? null,
    count: data.count ?? 1,
    source,
  };
}

function agree(a: string | null, b: string | null): boolean {
  return a === b || a === null || b === null;
}

function isSame(a: LoginRow, b: LoginRow): boolean {
  return (
    a.node === b.node &&
    a.action === b.action &&
    a.user === b.user &&
    agree(a.tty, b.tty) &&
    agree(a.from, b.from) &&
    agree(a.as, b.as) &&
    agree(a.command, b.command)
  );
}

/** What two sources know of one thing; the earlier one's word where both have one. */
function merged(a: LoginRow, b: LoginRow): LoginRow {
  return {
    ...a,
    tty: a.tty ?? b.tty,
    from: a.from ?? b.from,
    service: a.service ?? b.service,
    end: a.end ?? b.end,
    duration_s: a.duration_s ?? b.duration_s,
    reason: a.reason ?? b.reason,
    as: a.as ?? b.as,
    command: a.command ?? b.command,
    method: a.method ?? b.method,
    count: Math.max(a.count, b.count),
    source: [a.source, b.source].filter(Boolean).join('+') || null,
  };
}

/** Rows from a stream of events in order of time; holds the last three seconds. */
export async function* loginRows(events: AsyncIterable<SessionEvent>): AsyncGenerator<LoginRow> {
  const recent: { row: LoginRow; readonly at: number; readonly sources: Set<string | null> }[] = [];
  for await (const event of events) {
    const row = loginRow(event);
    const at = Date.parse(row.time);
    while (recent.length > 0 && recent[0]!.at < at - APART) yield recent.shift()!.row;
    const known = recent.find((one) => !one.sources.has(row.source) && isSame(one.row, row));
    if (known) {
      known.row = merged(known.row, row);
      known.sources.add(row.source);
    } else recent.push({ row, at, sources: new Set([row.source]) });
  }
  for (const { row } of recent) yield row;
}
