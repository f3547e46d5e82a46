/**
 * What the `logins` agent says about a login, whichever source it comes from, and the sessions that are open: a login is kept until
 * its logout comes, so that the logout says who it was, from where and for how long, even days and reboots later.
 */
import * as z from 'zod';
import { keyText } from '../../host/text.ts';
import type { LogEvent } from '../../plugin/agent.ts';

/** Why a session ended. */
const endReasons = ['logout', 'shutdown', 'crash', 'boot', 'replaced'] as const;
export type EndReason = (typeof endReasons)[number];

export const loginFields = z.strictObject({
  user: z.string().optional().describe('account name, as the source recorded it'),
  tty: z.string().optional().describe('terminal: `pts/0`, `tty1`; btmp has `ssh:notty`'),
  from: z.string().optional().describe('address or host that the person came from'),
  port: z
    .number()
    .int()
    .optional()
    .describe('port that the person came from, which tells two connections apart'),
  service: z.string().optional().describe('what let the person in: `sshd`, `login`, `su-l`'),
  pid: z.number().int().optional().describe('process that the source names for the session'),
  session: z.string().optional().describe('session id of systemd-logind'),
  method: z.string().optional().describe('how sshd authenticated: `publickey`, `password`'),
  as: z.string().optional().describe('account that su or sudo was to act as'),
  command: z.string().optional().describe('command that sudo was to run'),
  cwd: z.string().optional().describe('directory that sudo was called in'),
  start: z
    .string()
    .optional()
    .describe(
      'start of the session that ended, or of the boot; clock-changed: the clock before; history-lost: up to when the log had been read, the event’s own time is when the loss was found',
    ),
  end: z.string().optional().describe('end of the session, or of the boot; clock-changed: the clock after'),
  duration_s: z
    .number()
    .optional()
    .describe('seconds from start to end; negative when the clock was set back'),
  reason: z
    .enum(endReasons)
    .optional()
    .describe(
      'how it ended: `logout`; `shutdown`; `crash`: a boot follows without a shutdown; `boot`: another boot follows, how this one ended is not recorded; `replaced`: the terminal went to another session, no logout was recorded',
    ),
  count: z
    .number()
    .int()
    .optional()
    .describe('how many equal records or attempts this event stands for; 1 if absent'),
  invalid_user: z.boolean().optional().describe('true: there was no such account, or it may not log in'),
  detail: z.string().optional().describe('what else the source says, for people'),
});

export type LoginData = z.infer<typeof loginFields>;
export type LoginEvent = LogEvent<LoginData>;

/** A session that has begun: what a login says and its logout repeats. */
const sessionSchema = loginFields
  .pick({
    user: true,
    tty: true,
    from: true,
    port: true,
    service: true,
    pid: true,
    session: true,
    method: true,
  })
  .extend({
    item: z.string().describe('key that the login and its logout share'),
    start: z.string().describe('when it began; RFC 3339 UTC with milliseconds'),
  });

export type Session = z.infer<typeof sessionSchema>;

/** Sessions by the slot that their logout will name, oldest first. */
export const openSchema = z.array(z.tuple([z.string(), sessionSchema]));

/** Most sessions that are kept open per source: what bounds the cursor. */
export const MAX_OPEN = 2000;

/** RFC 3339 UTC with milliseconds, or undefined when the format has no way to write that time. */
export function isoTime(seconds: number, microseconds = 0): string | undefined {
  const millis = seconds * 1000 + Math.floor(microseconds / 1000);
  // years -0001 and 10000 need a sign and more digits
  if (!(millis >= -62_135_596_800_000 && millis <= 253_402_300_799_999)) return undefined;
  return new Date(millis).toISOString();
}

/**
 * The time up to which a log is read with what happened at `time`: a clock that was ahead must not make all that follows look read, so the present
 * counts where it is earlier.
 */
export function notAhead(time: string, now: string): string {
  return time < now ? time : now;
}

/** Seconds between two times, in milliseconds' precision. */
export function secondsBetween(start: string, end: string): number {
  return (Date.parse(end) - Date.parse(start)) / 1000;
}

/** A key from its parts: `session/wtmp/pts/0/1795402293.398823`. */
export function itemKey(...parts: readonly (string | number)[]): string {
  return keyText(parts.join('/'));
}

/** A text, or undefined where a source writes none or an empty one. */
export function orNothing(value: string | null): string | undefined {
  return value === null || value === '' ? undefined : value;
}

/** What there is to say of a boot: the kernel, and whether the boot before it ended without a shutdown. */
export function bootDetail(kernel: string, crashed: boolean): string | undefined {
  const told = [kernel && `kernel ${kernel}`, crashed && 'no shutdown was recorded before this boot'];
  return orNothing(told.filter(Boolean).join('; '));
}

/** The fields that are there: an event shows no empty ones. */
function compact(fields: LoginData): LoginData {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

/** An event without its empty fields. */
export function loginEvent(
  time: string,
  action: string,
  item: string,
  data: LoginData,
  by?: LoginEvent['by'],
): LoginEvent {
  return { time, action, item, ...(by === undefined ? {} : { by }), data: compact(data) };
}

/**
 * Sessions that have begun and not ended, each under the slot that its logout will name: the terminal in wtmp, the process in a log.
 * Oldest first; plain JSON in `saved`.
 */
export class OpenSessions {
  readonly #open: Map<string, Session>;

  constructor(saved: z.infer<typeof openSchema> = []) {
    this.#open = new Map(saved);
  }

  get(slot: string): Session | undefined {
    return this.#open.get(slot);
  }

  *entries(): Generator<readonly [slot: string, session: Session]> {
    yield* this.#open;
  }

  /** Begins a session. A slot that was taken is freed first: its session ended, though nothing recorded that. */
  *begin(slot: string, session: Session): Generator<LoginEvent> {
    yield* this.end(slot, session.start, 'replaced');
    this.#open.set(slot, session);
    const { item, start, ...fields } = session;
    yield loginEvent(start, 'login', item, fields);
    if (this.#open.size > MAX_OPEN) yield this.#forgetOldest(session.start);
  }

  /** Adds what became known later. */
  amend(slot: string, fields: Partial<Session>): void {
    const session = this.#open.get(slot);
    if (session !== undefined) this.#open.set(slot, { ...session, ...fields });
  }

  /** Ends the session in a slot; nothing when the slot is free. */
  *end(slot: string, time: string, reason: EndReason): Generator<LoginEvent> {
    const session = this.#open.get(slot);
    if (session === undefined) return;
    this.#open.delete(slot);
    const { item, ...fields } = session;
    yield loginEvent(time, 'logout', item, {
      ...fields,
      end: time,
      duration_s: secondsBetween(session.start, time),
      reason,
    });
  }

  /** Ends every session: the machine went down. */
  *endAll(time: string, reason: EndReason): Generator<LoginEvent> {
    for (const slot of [...this.#open.keys()]) yield* this.end(slot, time, reason);
  }

  saved(): z.infer<typeof openSchema> {
    return [...this.#open];
  }

  #forgetOldest(time: string): LoginEvent {
    const [slot, session] = this.#open.entries().next().value!;
    this.#open.delete(slot);
    const detail = `more than ${MAX_OPEN} sessions are open: the end of the oldest, from ${session.start}, will not be reported`;
    return loginEvent(time, 'history-lost', session.item, { user: session.user, detail });
  }
}
