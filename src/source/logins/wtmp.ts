/** What the records of wtmp say: logins, logouts, boots, shutdowns, clock changes. Follows last(1). */
import * as z from 'zod';
import {
  bootDetail,
  itemKey,
  type LoginEvent,
  loginEvent,
  OpenSessions,
  openSchema,
  orNothing,
  secondsBetween,
} from './sessions.ts';
import {
  BOOT_TIME,
  DEAD_PROCESS,
  NEW_TIME,
  OLD_TIME,
  RUN_LEVEL,
  USER_PROCESS,
  type UtmpRecord,
} from './utmp.ts';
import { from, RecordReader, stamp } from './utmpreader.ts';

export const wtmpStateSchema = z.strictObject({
  open: openSchema.describe('open sessions by terminal'),
  former: z
    .record(z.string(), z.number())
    .describe(
      "pid of a terminal's former session, by terminal: its late logout is not that of the present one",
    ),
  boot: z
    .strictObject({ item: z.string(), start: z.string() })
    .optional()
    .describe('the boot that the machine is in'),
  down: z.string().optional().describe('when the machine went down, until it comes up again'),
  clock: z.string().optional().describe('the clock before a change whose second half was not read'),
  last: z.string().optional().describe('time of the last record'),
});

/** What must be remembered of wtmp between two runs. */
export type WtmpState = z.infer<typeof wtmpStateSchema>;

/** `ut_pid` of a RUN_LVL record holds the new run level as a character; 0 and 6 are halt and reboot. */
function goesDown({ user, pid }: UtmpRecord): boolean {
  const level = String.fromCharCode(pid & 0xff);
  return user === 'shutdown' || (user === 'runlevel' && (level === '0' || level === '6'));
}

/** Turns wtmp's records into events, in the file's order. */
export class WtmpReader extends RecordReader {
  readonly #sessions: OpenSessions;
  readonly #former: Map<string, number>;
  #boot: WtmpState['boot'];
  #down: string | undefined;
  #clock: string | undefined;

  constructor(state: WtmpState = { open: [], former: {} }) {
    super('wtmp', state.last);
    this.#sessions = new OpenSessions(state.open);
    this.#former = new Map(Object.entries(state.former));
    this.#boot = state.boot;
    this.#down = state.down;
    this.#clock = state.clock;
  }

  state(): WtmpState {
    return {
      open: this.#sessions.saved(),
      former: Object.fromEntries(this.#former),
      boot: this.#boot,
      down: this.#down,
      clock: this.#clock,
      last: this.last,
    };
  }

  protected override *record(record: UtmpRecord, time: string): Generator<LoginEvent> {
    switch (record.type) {
      case USER_PROCESS:
        // a USER_PROCESS without a user is a logout, as last(1) has it
        yield* record.user === '' ? this.#logout(record, time) : this.#login(record, time);
        break;
      case DEAD_PROCESS:
        yield* this.#logout(record, time);
        break;
      case BOOT_TIME:
        yield* this.#bootUp(record, time);
        break;
      case RUN_LEVEL:
        if (goesDown(record)) yield* this.#shutdown(record, time);
        break;
      case OLD_TIME:
        this.#clock = time;
        break;
      case NEW_TIME:
        yield this.#clockChange(record, time);
    }
  }

  *#login(record: UtmpRecord, time: string): Generator<LoginEvent> {
    const slot = record.line;
    const before = this.#sessions.get(slot);
    this.#former.delete(slot);
    if (before?.pid !== undefined && before.pid !== record.pid) this.#former.set(slot, before.pid);
    yield* this.#sessions.begin(slot, {
      item: itemKey('session', 'wtmp', record.line, stamp(record)),
      start: time,
      user: record.user,
      tty: orNothing(record.line),
      from: from(record),
      pid: record.pid,
    });
  }

  *#logout(record: UtmpRecord, time: string): Generator<LoginEvent> {
    if (this.#former.get(record.line) === record.pid) {
      this.#former.delete(record.line);
      return;
    }
    yield* this.#sessions.end(record.line, time, 'logout');
    this.#former.delete(record.line);
  }

  *#bootUp(record: UtmpRecord, time: string): Generator<LoginEvent> {
    yield* this.#sessions.endAll(this.#down ?? time, this.#down === undefined ? 'crash' : 'shutdown');
    this.#former.clear();
    const crashed = this.#boot !== undefined && this.#down === undefined;
    const item = itemKey('boot', 'wtmp', stamp(record));
    this.#boot = { item, start: time };
    this.#down = undefined;
    const detail = bootDetail(record.host, crashed);
    yield loginEvent(time, 'boot', item, { detail });
  }

  /** A halt may be recorded twice: by init as run level 0 or 6, and as a shutdown. The first counts. */
  *#shutdown(record: UtmpRecord, time: string): Generator<LoginEvent> {
    if (this.#down !== undefined) return;
    this.#down = time;
    yield* this.#sessions.endAll(time, 'shutdown');
    const start = this.#boot?.start;
    const span =
      start === undefined
        ? {}
        : { start, end: time, duration_s: secondsBetween(start, time), reason: 'shutdown' as const };
    yield loginEvent(
      time,
      'shutdown',
      this.#boot?.item ?? itemKey('boot', 'wtmp', 'until', stamp(record)),
      span,
    );
    this.#boot = undefined;
  }

  #clockChange(record: UtmpRecord, time: string): LoginEvent {
    const start = this.#clock;
    this.#clock = undefined;
    const span = start === undefined ? {} : { start, duration_s: secondsBetween(start, time) };
    return loginEvent(time, 'clock-changed', itemKey('clock', stamp(record)), { ...span, end: time });
  }
}
