/**
 * Lines of auth.log and secure: RFC 3164 (`Nov 23 03:00:00 host sshd[1]: …`, local time without a year), ISO 8601 times (rsyslog since Debian 12) and
 * RFC 5424. Anyone may write to this log under any name (logger(1)), so a line proves less than a journal entry does.
 */
import * as z from 'zod';
import type { LocalClock } from '../localtime.ts';
import { authFact, programOf } from './authmessage.ts';
import { AuthTrail, type Saying, trailStateSchema } from './authtrail.ts';
import { itemKey, type LoginEvent, loginEvent, notAhead } from './sessions.ts';

const logLineSchema = z.strictObject({
  time: z.string().describe('RFC 3339 UTC with milliseconds'),
  stamp: z.string().describe('the time as it was written; RFC 3164: as `time`'),
  host: z.string(),
  program: z.string().describe('the tag before the colon, without the process id'),
  pid: z.number().optional().describe('process id in the tag'),
  message: z.string(),
});

/** The parts of a line. */
export type LogLine = z.infer<typeof logLineSchema>;

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const DAY_MS = 86_400_000;
/** A 29 February is at most 8 years back (1896–1904, 2096–2104). */
const YEARS_BACK = 8;

const PRI = /^<\d{1,4}>/;
const RFC5424 = /^1 (\S+) (\S+) (\S+) (\S+) \S+ (?:-|(?:\[(?:[^\]"]|"(?:[^"\\]|\\.)*")*\])+) ?\uFEFF?(.*)$/s;
const ISO = /^(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?) (\S+) (.*)$/s;
const RFC3164 = /^([A-Z][a-z]{2}) +(\d{1,2}) (\d\d:\d\d:\d\d)(?:\.\d+)? (\S+) (.*)$/s;
const TAG = /^([^\s:[]+)(?:\[(\d+)\])?: ?(.*)$/s;
const REPEATED = /^message repeated (\d+) times: \[ ?(.*)\]$/s;
const LAST_REPEATED = /^last message repeated (\d+) times$/;

/** An ISO 8601 time as UTC; one without a zone is the system's local time. */
function isoToUtc(written: string, clock: LocalClock): string | undefined {
  const zoned = /(?:Z|[+-]\d\d:?\d\d)$/.exec(written);
  if (zoned === null) {
    const [wall, fraction = ''] = written.split(/[.,]/);
    return clock.parse(wall!)?.replace('.000Z', `.${fraction.slice(0, 3).padEnd(3, '0')}Z`);
  }
  const millis = Date.parse(
    written
      .replace(' ', 'T')
      .replace(',', '.')
      .replace(/(\.\d{3})\d+/, '$1'),
  );
  return Number.isFinite(millis) ? new Date(millis).toISOString() : undefined;
}

/**
 * A time without a year, in the last year that puts it at `latest` (the file's last change) or before; a day is granted for clocks that
 * were set back. 29 February is in the last leap year.
 */
export function yearlessToUtc(
  month: string,
  day: string,
  time: string,
  clock: LocalClock,
  latest: number,
): string | undefined {
  const number = MONTHS.indexOf(month) + 1;
  if (number === 0) return undefined;
  const thisYear = new Date(latest + DAY_MS).getUTCFullYear();
  const rest = `${String(number).padStart(2, '0')}-${day.padStart(2, '0')} ${time}`;
  for (let year = thisYear; year >= thisYear - YEARS_BACK; year--) {
    const utc = clock.parse(`${year}-${rest}`);
    if (utc !== undefined && Date.parse(utc) <= latest + DAY_MS) return utc;
  }
  return undefined;
}

function tagged(time: string | undefined, stamp: string, host: string, content: string): LogLine | undefined {
  if (time === undefined) return undefined;
  const tag = TAG.exec(content);
  if (tag === null) return { time, stamp, host, program: '', pid: undefined, message: content };
  const pid = tag[2] === undefined ? undefined : Number(tag[2]);
  return { time, stamp, host, program: tag[1]!, pid, message: tag[3]! };
}

/**
 * The parts of a line of text, or undefined when it is not a log line. `latest` is when the file was last changed, milliseconds since 1970:
 * what the year of a time without one is taken from.
 */
export function parseLogLine(line: string, clock: LocalClock, latest: number): LogLine | undefined {
  const content = line.replace(PRI, '');
  const modern = RFC5424.exec(content);
  if (modern !== null) {
    const [written, host, program, pid, message] = modern.slice(1) as [
      string,
      string,
      string,
      string,
      string,
    ];
    const time = isoToUtc(written, clock);
    const number = /^\d+$/.test(pid) ? Number(pid) : undefined;
    return time === undefined ? undefined : { time, stamp: written, host, program, pid: number, message };
  }
  const iso = ISO.exec(content);
  if (iso !== null) return tagged(isoToUtc(iso[1]!, clock), iso[1]!, iso[2]!, iso[3]!);
  const classic = RFC3164.exec(content);
  if (classic === null) return undefined;
  const [month, day, clockTime, host, rest] = classic.slice(1) as [string, string, string, string, string];
  const time = yearlessToUtc(month, day, clockTime, clock, latest);
  return tagged(time, time ?? '', host, rest);
}

export const authlogStateSchema = z.strictObject({
  trail: trailStateSchema,
  time: z.string().optional().describe('time of the last line'),
  last: logLineSchema
    .optional()
    .describe('the last line, when it told of an attempt: `last message repeated` means it'),
});

/** What must be remembered between two runs. */
export type AuthlogState = z.infer<typeof authlogStateSchema>;

/** Turns lines of auth.log into events. */
export class AuthlogReader {
  readonly #trail: AuthTrail;
  #time: string | undefined;
  #last: LogLine | undefined;
  #strange: { count: number; first: string } | undefined;

  constructor(state?: AuthlogState) {
    this.#trail = new AuthTrail('authlog', state?.trail);
    this.#time = state?.time;
    this.#last = state?.last;
  }

  state(): AuthlogState {
    return { trail: this.#trail.state(), time: this.#time, last: this.#last };
  }

  /** Events of one line; `latest` as for `parseLogLine`, `now` the time of what has none. */
  *read(line: string, clock: LocalClock, latest: number, now: string): Generator<LoginEvent> {
    const parsed = parseLogLine(line, clock, latest);
    const again = LAST_REPEATED.exec(parsed?.message ?? line)?.[1];
    if (again !== undefined) {
      if (this.#last !== undefined) yield* this.#say(this.#last, Number(again));
    } else if (parsed !== undefined) {
      yield* this.#report(now);
      this.#time = notAhead(parsed.time, now);
      const repeated = REPEATED.exec(parsed.message);
      if (repeated === null) yield* this.#say(parsed);
      else yield* this.#say({ ...parsed, message: repeated[2]! }, Number(repeated[1]));
    } else if (line.trim() !== '') {
      this.#strange ??= { count: 0, first: line.slice(0, 200) };
      this.#strange.count += 1;
    }
  }

  /** What is left to say at the end of the input. */
  *finish(now: string): Generator<LoginEvent> {
    yield* this.#trail.finish(now);
    yield* this.#report(now);
  }

  *#say(line: LogLine, count?: number): Generator<LoginEvent> {
    const program = programOf(line.program);
    const saying: Saying = { time: line.time, stamp: line.stamp, program, pid: line.pid, count };
    const fact = authFact(program, line.message);
    this.#last = undefined;
    if (fact === undefined) {
      yield* this.#trail.settle(saying);
      return;
    }
    if (fact.what === 'failed' || fact.what === 'refused')
      this.#last = { ...line, message: line.message.slice(0, 1000) };
    // sshd always gives its pid (LOG_PID); logger(1) does not unless asked to
    if (program === 'sshd' && line.pid === undefined)
      yield this.#trail.forged(saying, program, 'a program that gives no process id', line.message);
    else yield* this.#trail.read(fact, saying);
  }

  *#report(now: string): Generator<LoginEvent> {
    if (this.#strange === undefined) return;
    const { count, first } = this.#strange;
    this.#strange = undefined;
    const time = this.#time ?? now;
    yield loginEvent(time, 'record-damaged', itemKey('damage', 'authlog', time), {
      count,
      detail: `not a line of a system log: ${first}`,
    });
  }
}
