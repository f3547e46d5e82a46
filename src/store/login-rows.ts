/**
 * One row per login, attempt, boot …, from all sources that tell of it. Pure. The same thing told by two sources (wtmp and the journal, say) is
 * known by its action, user and time, and by whatever else both say of it; one source's two events are always two things, except that sshd writes
 * several btmp records for one attempt of a user that does not exist.
 */
import { isIP } from 'node:net';
import * as z from 'zod';
import { SESSION_REACH, type SessionEvent, type Window } from './events.ts';

/** How far apart two sources' times of one thing may be, in milliseconds. */
const APART = 3000;
/** How long a row waits for more of its kind: another source within APART of the first, and btmp's second record within APART of that. */
const HELD = 2 * APART;
/** Ends that no source recorded but a reader concluded from what came next. */
const GUESSED = new Set<string | null>(['replaced', 'crash', 'boot']);
/** Bytes that a name has room for in btmp. */
const BTMP_NAME = 32;

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
  pid: z.number().optional().catch(undefined),
  detail: z.string().optional().catch(undefined),
  invalid_user: z.boolean().optional().catch(undefined),
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
  readonly invalid_user: boolean;
  readonly detail: string | null;
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
    invalid_user: data.invalid_user ?? false,
    detail: data.detail ?? null,
    source,
  };
}

function agree(a: string | null, b: string | null): boolean {
  return a === b || a === null || b === null;
}

/** A name's bytes, one character each: journald and sshd write a byte that is no text as `\377`, this program as `\xff`. */
function nameBytes(name: string): string {
  const parts = name.matchAll(/\\x([0-9a-f]{2})|\\([0-3][0-7]{2})|\\\\|[^\\]+|\\/g);
  return Array.from(parts, ([text, hex, octal]) => {
    if (hex !== undefined) return String.fromCharCode(Number.parseInt(hex, 16));
    if (octal !== undefined) return String.fromCharCode(Number.parseInt(octal, 8));
    return text === '\\\\' ? '\\' : Buffer.from(text).toString('latin1');
  }).join('');
}

/** Whether btmp's name, which is cut and escaped in its own way, can be the one that a log has. */
function isBtmpName(short: string, full: string): boolean {
  return nameBytes(full).slice(0, BTMP_NAME) === nameBytes(short);
}

function sameUser(a: LoginRow, b: LoginRow): boolean {
  if (a.user === b.user) return true;
  if (a.user === null || b.user === null || a.from === null || a.from !== b.from) return false;
  if (a.source === 'btmp') return isBtmpName(a.user, b.user);
  return b.source === 'btmp' && isBtmpName(b.user, a.user);
}

const isSu = (service: string | null): boolean => service === 'su' || service === 'su-l';

/** Sources name a service in several ways; but a session under su is never one of another service. */
function maySameService(a: string | null, b: string | null): boolean {
  return a === null || b === null || isSu(a) === isSu(b);
}

/** Whether one is an address and the other a name. With `UseDNS` sshd writes its peer's name to wtmp and btmp, and the address to the log. */
function isNameOf(a: string | null, b: string | null): boolean {
  return a !== null && b !== null && (isIP(a) === 0) !== (isIP(b) === 0);
}

function isSame(a: LoginRow, b: LoginRow, sameProcess: boolean): boolean {
  return (
    a.node === b.node &&
    a.action === b.action &&
    sameUser(a, b) &&
    agree(a.tty, b.tty) &&
    (agree(a.from, b.from) || (sameProcess && isNameOf(a.from, b.from))) &&
    maySameService(a.service, b.service) &&
    agree(a.as, b.as) &&
    agree(a.command, b.command)
  );
}

/**
 * Whether `other` is what PAM recorded of the su that `log` tells: btmp's record of a refused one, wtmpdb's session of one that was not. Both name
 * the account that was asked for; only the log says who asked.
 */
function isOfSu(log: LoginRow, other: LoginRow, sameProcess: boolean): boolean {
  if (log.node !== other.node || log.as === null || log.as !== other.user) return false;
  if (log.action === 'su') return other.action === 'login' && isSu(other.service);
  return log.action === 'su-failed' && other.action === 'failed' && other.source === 'btmp' && sameProcess;
}

/** How much an end is worth: none, a guess, a record. */
function endRank({ end, reason }: LoginRow): number {
  if (end === null) return 0;
  return GUESSED.has(reason) ? 1 : 2;
}

/** The end that was recorded, rather than one that was guessed; never one source's end with another's length. */
function mergedEnd(a: LoginRow, b: LoginRow): Pick<LoginRow, 'end' | 'duration_s' | 'reason'> {
  const [best, other] = endRank(b) > endRank(a) ? [b, a] : [a, b];
  const { end, duration_s, reason } = best;
  if (end !== null) return { end, duration_s, reason };
  return { end, duration_s: duration_s ?? other.duration_s, reason: reason ?? other.reason };
}

/** How many attempts two rows tell of: where btmp has several records for one, the log knows. */
function mergedCount(a: LoginRow, b: LoginRow): number {
  if (b.source === 'btmp' && a.invalid_user) return a.count;
  if (a.source === 'btmp' && b.invalid_user) return b.count;
  return Math.max(a.count, b.count);
}

/** The address rather than a name, which whoever rules the reverse zone chose. */
function mergedFrom(a: string | null, b: string | null): string | null {
  return isNameOf(a, b) && isIP(b!) > 0 ? b : (a ?? b);
}

function mergedSource(a: string | null, b: string | null): string | null {
  const names = [a, b].flatMap((source) => source?.split('+') ?? []);
  return [...new Set(names)].join('+') || null;
}

/** Of two rows of one thing, the one that says who did what. */
function teller(a: LoginRow, b: LoginRow): LoginRow {
  return a.source === 'btmp' || (a.as === null && b.as !== null && b.as === a.user) ? b : a;
}

/** What two sources know of one thing; the earlier one's word where both have one. */
function merged(a: LoginRow, b: LoginRow): LoginRow {
  const { action, user } = teller(a, b);
  return {
    ...a,
    action,
    user,
    tty: a.tty ?? b.tty,
    from: mergedFrom(a.from, b.from),
    service: a.service ?? b.service,
    ...mergedEnd(a, b),
    as: a.as ?? b.as,
    command: a.command ?? b.command,
    method: a.method ?? b.method,
    count: mergedCount(a, b),
    invalid_user: a.invalid_user || b.invalid_user,
    detail: a.detail ?? b.detail,
    source: mergedSource(a.source, b.source),
  };
}

/** A row that may still get more. */
interface Held {
  row: LoginRow;
  pid: number | undefined;
  /** When it began; rows leave in this order. */
  readonly at: number;
  /** When each source says it was, in milliseconds. */
  readonly times: Map<string | null, number>;
}

/** One event, to be paired. */
interface Told {
  readonly row: LoginRow;
  readonly pid: number | undefined;
  readonly at: number;
}

/** Milliseconds between an event and the nearest word of another source. */
function distance({ times }: Held, { row, at }: Told): number {
  const others = [...times].filter(([source]) => source !== row.source);
  return Math.min(...others.map(([, time]) => Math.abs(at - time)));
}

function mayJoin(held: Held, told: Told): boolean {
  const again = held.times.has(told.row.source);
  // a second record of btmp needs a log that says what both are about, and an address
  if (again && !(told.row.source === 'btmp' && held.row.invalid_user && told.row.from !== null)) return false;
  const sameProcess = held.pid !== undefined && held.pid === told.pid;
  const { row } = held;
  const fits =
    isSame(row, told.row, sameProcess) ||
    isOfSu(row, told.row, sameProcess) ||
    isOfSu(told.row, row, sameProcess);
  if (!fits || distance(held, told) > APART) return false;
  // sshd's process is the same in wtmp, btmp and the logs; a display manager's is not
  const bySshd = held.row.service === 'sshd' || told.row.service === 'sshd';
  return !bySshd || held.pid === undefined || told.pid === undefined || held.pid === told.pid;
}

/** Of the rows that an event may belong to, the one of the same process, else of the same terminal, else the nearest in time. */
function bestOf(recent: readonly Held[], told: Told): Held | undefined {
  const rank = (held: Held): number =>
    (told.pid !== undefined && held.pid === told.pid ? 2 : 0) +
    (told.row.tty !== null && held.row.tty === told.row.tty ? 1 : 0);
  return recent
    .filter((held) => mayJoin(held, told))
    .sort((a, b) => rank(b) - rank(a) || distance(a, told) - distance(b, told))[0];
}

/** A session on a node; undefined where the source gives it no key. */
function sessionOf({ node, item }: SessionEvent): string | undefined {
  return item === null ? undefined : `${node} ${item}`;
}

/** The logins close to a window's beginning, each with the row that it is in: whether its logout is a row too depends on where that begins. */
class EdgeLogins {
  readonly #rows = new Map<string, Held>();
  readonly #since: number;

  constructor(since: number) {
    this.#since = since;
  }

  note(event: SessionEvent, held: Held): void {
    const session = event.action === 'login' ? sessionOf(event) : undefined;
    if (session !== undefined && Date.parse(event.time) < this.#since + SESSION_REACH)
      this.#rows.set(session, held);
  }

  /** Whether an event is the logout of a login whose row is in the window, and tells of the end. */
  tellsEndOf(event: SessionEvent): boolean {
    const session = event.action === 'logout' ? sessionOf(event) : undefined;
    const login = session === undefined ? undefined : this.#rows.get(session);
    return login !== undefined && login.at >= this.#since;
  }
}

/**
 * The rows of a window from a stream of events in order of time, which reaches past its edges: a row is in the window that its first event is in, whichever
 * of its sources tell of it behind the edge. Holds the last six seconds, and the logins of a minute before and behind the beginning.
 */
export async function* loginRows(
  events: AsyncIterable<SessionEvent>,
  window: Pick<Window, 'since' | 'until'>,
): AsyncGenerator<LoginRow> {
  const [since, until] = [window.since.getTime(), window.until.getTime()];
  const edge = new EdgeLogins(since);
  const isIn = ({ at }: Held): boolean => at >= since && at < until;
  const recent: Held[] = [];
  for await (const event of events) {
    if (edge.tellsEndOf(event)) continue;
    const row = loginRow(event);
    const at = Date.parse(row.time);
    const { pid } = dataSchema.parse(event.data ?? {});
    while (recent.length > 0 && recent[0]!.at < at - HELD) {
      const held = recent.shift()!;
      if (isIn(held)) yield held.row;
    }
    let held = bestOf(recent, { row, pid, at });
    if (held) {
      held.row = merged(held.row, row);
      held.pid ??= pid;
      held.times.set(row.source, at);
    } else {
      held = { row, pid, at, times: new Map([[row.source, at]]) };
      recent.push(held);
    }
    edge.note(event, held);
  }
  for (const held of recent) if (isIn(held)) yield held.row;
}
