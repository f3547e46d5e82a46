/**
 * Entries of systemd's journal as `journalctl -o json --all` writes them, to events. Which program wrote an entry is judged by the fields that journald
 * itself adds (they begin with `_`, systemd.journal-fields(7)), never by the identifier, which `logger -t sshd` may choose.
 */
import * as z from 'zod';
import { text } from '../../host/text.ts';
import { type AuthFact, authFact, programOf } from './authmessage.ts';
import { AuthTrail, type Saying, trailStateSchema } from './authtrail.ts';
import { isoTime, itemKey, type LoginEvent, loginEvent, notAhead } from './sessions.ts';

/** systemd-logind's message ids (sd-messages.h): a session began, a session ended. */
const SESSION_START = '8d45620c1a4348dbb17410da57c60c66';
const SESSION_STOP = '3354939424b4456d9802ca8333ed424a';
const PROGRAMS = ['sshd', 'sshd-session', 'sshd-auth', 'sudo', 'su', 'login'];
/** Where programs lie that only root can put there. */
const SYSTEM_FOLDER = /^\/(?:usr\/)?(?:local\/)?(?:s?bin|lib(?:32|64|exec)?)\//;
/** Priority of what logind says about sessions that are nobody's login (cron jobs). */
const DEBUG = '7';
/** Sessions that are no person's login, as systemd 256 and later name them in the message. */
const NO_LOGIN_CLASS = /with class '(?:manager|background|greeter|lock-screen|none)/;

/** What the start of a user's own systemd writes: versions before 258 do not say in logind's message that its session is nobody's login. */
const MANAGER = '(systemd)';
const MANAGER_OPENED = /^pam_\w+\(systemd-user:session\): session opened /;
/** How long after that logind's message may come, in milliseconds. */
const MANAGER_WAITS_MS = 60_000;

/** Arguments that make journalctl print only what is read here. */
export const journalMatches: readonly string[] = [
  ...PROGRAMS.map((name) => `_COMM=${name}`),
  '+',
  ...[...PROGRAMS, MANAGER].map((name) => `SYSLOG_IDENTIFIER=${name}`),
  '+',
  `MESSAGE_ID=${SESSION_START}`,
  `MESSAGE_ID=${SESSION_STOP}`,
];

type JournalFields = Readonly<Record<string, unknown>>;

export const journalStateSchema = z.strictObject({
  trail: trailStateSchema,
  boot: z.string().optional().describe('boot id of the last entry'),
  time: z.string().optional().describe('time of the last entry'),
  managers: z
    .array(z.tuple([z.number(), z.string()]))
    .optional()
    .describe('processes that just became a user’s own systemd, and when'),
});

/** What must be remembered between two runs. */
export type JournalState = z.infer<typeof journalStateSchema>;

/** A field that has one value, as text: binary values come as arrays of bytes, repeated fields as arrays of texts. */
function single(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  if (Array.isArray(value) && value.length > 0 && value.every((byte) => Number.isInteger(byte)))
    return text(Buffer.from(value as number[]));
  return undefined;
}

function decimal(value: unknown): number | undefined {
  const written = single(value);
  return written !== undefined && /^\d{1,15}$/.test(written) ? Number(written) : undefined;
}

/** The entry's fields, or undefined when the line is not one JSON object. */
export function parseEntry(line: Uint8Array): JournalFields | undefined {
  try {
    const value: unknown = JSON.parse(text(line));
    return value !== null && typeof value === 'object' && !Array.isArray(value)
      ? (value as JournalFields)
      : undefined;
  } catch {
    return undefined;
  }
}

/** The cursor of an entry: journalctl's word for its place. */
export function entryCursor(fields: JournalFields): string | undefined {
  return single(fields.__CURSOR);
}

/** The entry's time in microseconds since 1970 as `seconds.microseconds` and as RFC 3339. */
function timeOf(fields: JournalFields): { time: string; stamp: string } | undefined {
  const written = single(fields.__REALTIME_TIMESTAMP);
  if (written === undefined || !/^\d{1,16}$/.test(written)) return undefined;
  const micros = Number(written);
  const seconds = Math.floor(micros / 1e6);
  const time = isoTime(seconds, micros % 1e6);
  return time === undefined
    ? undefined
    : { time, stamp: `${seconds}.${String(micros % 1e6).padStart(6, '0')}` };
}

/** The name of the program that wrote an entry. A name proves little: anyone may call a program sshd (see `isProven`). */
function programName(fields: JournalFields): string {
  const path = single(fields._EXE) ?? '';
  return single(fields._COMM) ?? path.slice(path.lastIndexOf('/') + 1);
}

/**
 * Whether the program of that name is the real one: it ran as root, or (as set-user-id programs do) with capabilities and from a folder where only root
 * can put a program; the path is missing where the process was gone when journald looked. That a session ended may be told by sshd's
 * half that runs as the user. A user who can make namespaces may still imitate this: the journal's own limit.
 */
function isProven(fields: JournalFields, what: AuthFact['what']): boolean {
  const path = single(fields._EXE);
  const isInstalled = path !== undefined && SYSTEM_FOLDER.test(path);
  const isCapable = /[1-9a-f]/.test(single(fields._CAP_EFFECTIVE) ?? '');
  if (single(fields._UID) === '0' || (what === 'gone' && isInstalled)) return true;
  return isCapable ? isInstalled || path === undefined : isInstalled && fields._UID === undefined;
}

/** Turns journal entries into events. */
export class JournalReader {
  readonly #trail: AuthTrail;
  #boot: string | undefined;
  #time: string | undefined;
  #managers: Map<number, string>;

  constructor(state?: JournalState) {
    this.#trail = new AuthTrail('journal', state?.trail);
    this.#boot = state?.boot;
    this.#time = state?.time;
    this.#managers = new Map(state?.managers);
  }

  state(): JournalState {
    const managers = this.#managers.size > 0 ? { managers: [...this.#managers] } : {};
    return { trail: this.#trail.state(), boot: this.#boot, time: this.#time, ...managers };
  }

  /** Events of one line of journalctl's output; `now` is the time of damage before the first entry. */
  *read(line: Uint8Array, now: string): Generator<LoginEvent> {
    const fields = parseEntry(line);
    const when = fields === undefined ? undefined : timeOf(fields);
    if (fields === undefined || when === undefined) {
      yield this.#damage(
        fields === undefined ? 'an entry that is not JSON' : 'an entry without a time',
        line,
        now,
      );
      return;
    }
    yield* this.#newBoot(single(fields._BOOT_ID), when.time);
    this.#time = notAhead(when.time, now);
    const pid = decimal(fields._PID);
    const program = programName(fields);
    const saying: Saying = { ...when, program: programOf(program), pid, uid: decimal(fields._UID) };
    this.#noteManager(fields, program, saying);
    if (isLogind(fields, program)) yield* this.#logind(fields, saying);
    else yield* this.#message(fields, saying, PROGRAMS.includes(program));
  }

  /** What is left to say at the end of the input. */
  *finish(now: string): Generator<LoginEvent> {
    yield* this.#trail.finish(now);
  }

  *#message(fields: JournalFields, saying: Saying, isKnown: boolean): Generator<LoginEvent> {
    // a message of several lines is told by its first: the rest is not what the program's own format holds
    const message = single(fields.MESSAGE)?.split('\n')[0] ?? '';
    const claimed = isKnown ? saying.program : programOf(single(fields.SYSLOG_IDENTIFIER) ?? '');
    const fact = PROGRAMS.includes(claimed) ? authFact(claimed, message) : undefined;
    if (fact === undefined) yield* this.#trail.settle(saying);
    else if (isKnown && isProven(fields, fact.what)) yield* this.#trail.read(fact, saying);
    // an end that is not proven is no alarm: PAM and logind tell it as well
    else if (fact.what !== 'gone') yield this.#trail.forged(saying, claimed, writer(fields), message);
  }

  *#logind(fields: JournalFields, saying: Saying): Generator<LoginEvent> {
    const session = single(fields.SESSION_ID);
    const leader = decimal(fields.LEADER);
    if (session === undefined || leader === undefined) return;
    if (fields.MESSAGE_ID === SESSION_STOP) {
      yield* this.#trail.logindEnd(saying, session, leader);
      return;
    }
    const isLogin = fields.PRIORITY !== DEBUG && !NO_LOGIN_CLASS.test(single(fields.MESSAGE) ?? '');
    if (isLogin && !this.#managers.has(leader))
      yield* this.#trail.logind(saying, single(fields.USER_ID) ?? '', session, leader);
  }

  /** Remembers a process that becomes a user's own systemd, and forgets those of a while ago: process ids come again. */
  #noteManager(fields: JournalFields, program: string, { time, pid, uid }: Saying): void {
    for (const [known, since] of this.#managers)
      if (Date.parse(time) - Date.parse(since) > MANAGER_WAITS_MS) this.#managers.delete(known);
    const isManager = program === MANAGER && uid === 0 && pid !== undefined;
    if (isManager && MANAGER_OPENED.test(single(fields.MESSAGE) ?? '')) this.#managers.set(pid, time);
  }

  /** Sessions end with the boot that they were in. */
  *#newBoot(boot: string | undefined, time: string): Generator<LoginEvent> {
    if (boot === undefined || boot === this.#boot) return;
    if (this.#boot !== undefined) yield* this.#trail.sessions.endAll(time, 'boot');
    this.#boot = boot;
  }

  #damage(what: string, line: Uint8Array, now: string): LoginEvent {
    const time = this.#time ?? now;
    const detail = `${what}: ${text(line.subarray(0, 200))}`;
    return loginEvent(time, 'record-damaged', itemKey('damage', 'journal', time), { detail });
  }
}

function isLogind(fields: JournalFields, program: string): boolean {
  const known = fields.MESSAGE_ID === SESSION_START || fields.MESSAGE_ID === SESSION_STOP;
  return known && program === 'systemd-logind' && single(fields._UID) === '0';
}

function writer(fields: JournalFields): string {
  const name = single(fields._EXE) ?? single(fields._COMM);
  const uid = single(fields._UID);
  return `${name ?? 'a program that was gone when journald looked'}${uid === undefined ? '' : ` of uid ${uid}`}`;
}
