/** What every package manager's history amounts to, and how its text logs are read: line by line behind a cursor that holds the parser's state. */
import * as z from 'zod';
import { stamp } from '../../host/stamp.ts';
import { keyText } from '../../host/text.ts';
import { type AgentContext, absent, type LogEntry, type LogEvent } from '../../plugin/agent.ts';
import { type By, timeSchema } from '../../spool/batch.ts';
import type { Lost } from '../follow.ts';
import { followLines } from '../follow-lines.ts';
import type { Manager } from '../packages/version.ts';
import { hasLog, logFiles } from '../rotated.ts';

export const historyFields = z.strictObject({
  transaction: z
    .string()
    .optional()
    .describe('groups what one command did: begin as written (apt, zypp, apk, pacman) or number (dnf, yum)'),
  end: timeSchema.optional().describe('when that command ended'),
  unfinished: z.literal(true).optional().describe('no end was recorded: the command was killed'),
  error: z
    .string()
    .optional()
    .describe('what went wrong, as the log says it; on another action than failed: in the same command'),
  status: z.string().optional().describe('dpkg: the state that a failed change left the package in'),
  auto: z
    .literal(true)
    .optional()
    .describe('not asked for by name: came as a dependency, or (zypp) with an update of everything'),
  replaced_by: z.string().optional().describe('the package that took the place of this one (dnf, yum)'),
  repository: z.string().optional().describe('where the package came from (dnf, zypp)'),
  comment: z.string().optional().describe('the comment that was given with the command'),
  written_time: z
    .string()
    .optional()
    .describe('the time as written, where it is no time: time is then that of the run'),
  lost: z.string().optional().describe('what of the history is gone or cannot be read'),
  since: timeSchema
    .optional()
    .describe('history-lost: the newest change that had been read; what is lost may be as old as that'),
});

export type HistoryFields = z.infer<typeof historyFields>;
export type HistoryEvent = LogEvent<HistoryFields>;

export const historyActions = {
  installed: 'a package was installed (zypp: or upgraded, which its log does not tell apart)',
  upgraded: 'a package was replaced by a newer version',
  downgraded: 'a package was replaced by an older version',
  reinstalled: 'a package was installed again in the version that it had',
  removed: 'a package was removed; dpkg may have kept its configuration',
  purged: 'a package was removed with its configuration',
  failed: 'a change was tried and did not succeed',
  'history-lost': 'a part of the history was gone or damaged before it was read',
};

export type HistoryAction = keyof typeof historyActions;

/** One package's change; `from` and `to` are versions. */
export interface PackageChange {
  readonly time: string;
  readonly action: HistoryAction;
  readonly manager: Manager;
  readonly name: string;
  /** Left out where the log does not say. */
  readonly arch?: string | undefined;
  readonly from?: string | undefined;
  readonly to?: string | undefined;
  readonly by?: { readonly [K in keyof By]: By[K] | undefined };
  readonly fields?: { readonly [K in keyof HistoryFields]: HistoryFields[K] | undefined };
}

/** The members that have a value, or undefined when none has. */
function present<T extends object>(members: { readonly [K in keyof T]: T[K] | undefined }): T | undefined {
  const entries = Object.entries(members).filter(([, value]) => value !== undefined && value !== '');
  return entries.length > 0 ? (Object.fromEntries(entries) as T) : undefined;
}

/** One change as an event; item `dpkg/openssl/amd64`. */
export function changeEvent(change: PackageChange): HistoryEvent {
  const { time, action, manager, name, arch, from, to } = change;
  const by = present<By>(change.by ?? {});
  const data = present<HistoryFields>(change.fields ?? {});
  return {
    time,
    action,
    item: keyText([manager, name, ...(arch ? [arch] : [])].join('/')),
    ...(from === undefined ? {} : { before: { version: from } }),
    ...(to === undefined ? {} : { after: { version: to } }),
    ...(by && { by }),
    ...(data && { data }),
  };
}

/** Characters of a command line that each event of a transaction carries; the first carries all of it. */
const SHORT_COMMAND = 2048;

/** A command line for the second and further events of its transaction: one option of a hundred kilobytes must not be told a thousand times. */
export function shortened(command: string): string {
  return command.length > SHORT_COMMAND ? `${command.slice(0, SHORT_COMMAND)}…` : command;
}

/** One transaction's changes as events. */
export function transactionOf(changes: readonly PackageChange[]): HistoryEvent[] {
  return changes.map((change, index) => {
    const command = change.by?.command;
    return changeEvent(
      index === 0 || command === undefined
        ? change
        : { ...change, by: { ...change.by, command: shortened(command) } },
    );
  });
}

/** A command that failed as a whole, so that no package can be named. */
export function failedCommand(
  time: string,
  by: PackageChange['by'],
  fields: NonNullable<PackageChange['fields']>,
): HistoryEvent {
  const who = present<By>(by ?? {});
  const data = present<HistoryFields>(fields);
  return { time, action: 'failed', ...(who && { by: who }), ...(data && { data }) };
}

/** Says that a part of a source's history is gone or cannot be read. `since`: the newest change that had been read. */
export function historyLost(
  source: string,
  time: string,
  lost: string,
  since?: string | undefined,
): HistoryEvent {
  const data = { lost, ...(since === undefined ? {} : { since }) };
  return { time, action: 'history-lost', item: `history/${source}`, data };
}

/** How many commands began at one written time, so that each has an id of its own. */
export const startsSchema = z.strictObject({
  at: z.string().describe('the last begin, as written'),
  count: z.int().describe('commands that began then'),
});

/** An id for a command that began at `written`: that text, with `#2` for the second of the same second. */
export function nextTransaction(starts: z.infer<typeof startsSchema>, written: string): string {
  starts.count = starts.at === written ? starts.count + 1 : 1;
  starts.at = written;
  return starts.count === 1 ? written : `${written}#${starts.count}`;
}

/** How long a change without an end may still be under way. */
const PATIENCE = 24 * 60 * 60 * 1000;

/** Whether something that began at `time` can no longer be under way. */
export function isStale(time: string, now: Date): boolean {
  return now.getTime() - Date.parse(time) > PATIENCE;
}

/** Understands one manager's log. The state is plain JSON and goes into the cursor, so that a run may stop behind any line. */
export interface HistoryParser<S> {
  /** The source's name. */
  readonly source: string;
  readonly path: string;
  readonly state: z.ZodType<S>;
  begin(): S;
  /** Takes in one line, without its LF: changes the state and returns what is known now. */
  line(state: S, line: Buffer): HistoryEvent[];
  /** Called at the end of what there is: gives up waiting for the end of what began too long ago. */
  settle(state: S, now: Date): HistoryEvent[];
}

/** The last moment that a Date can hold. */
const END_OF_TIME = new Date(8.64e15);

/** Lines after which a cursor is handed out, so that a long log is committed in parts. */
const CURSOR_EVERY = 250;

/**
 * Drops what was told before a loss: after it, files may be read again of which it is not known how far they had been. A change dated in the future
 * counts as of the run that met it, so that it cannot hide what follows.
 */
class Reread {
  readonly #now: string;
  #newest: string | undefined;
  #until: string | undefined;

  constructor(now: Date, stored: { newest?: string | undefined; until?: string | undefined }) {
    this.#now = now.toISOString();
    this.#newest = stored.newest;
    this.#until = stored.until;
  }

  begin(): void {
    this.#until = this.#newest === undefined || this.#newest < this.#now ? this.#newest : this.#now;
  }

  isNew({ time, data }: HistoryEvent): boolean {
    if (data?.written_time !== undefined) return true;
    if (this.#until !== undefined && time <= this.#until) return false;
    if (time <= this.#now) this.#until = undefined;
    const known = time < this.#now ? time : this.#now;
    if (this.#newest === undefined || known > this.#newest) this.#newest = known;
    return true;
  }

  get stored(): { newest?: string; until?: string } {
    return {
      ...(this.#newest === undefined ? {} : { newest: this.#newest }),
      ...(this.#until === undefined ? {} : { until: this.#until }),
    };
  }
}

function cursorSchema<S>(state: z.ZodType<S>) {
  return z.strictObject({
    at: z.unknown().describe('place in the log (src/source/follow.ts)'),
    state: state.describe('what the parser knows of the lines before'),
    newest: timeSchema.optional().describe('time of the newest change told'),
    until: timeSchema.optional().describe('after a loss: changes up to here were told before'),
  });
}

class HistoryReader<S> {
  readonly #parser: HistoryParser<S>;
  readonly #now: Date;
  readonly #reread: Reread;
  #state: S;
  #at: unknown;

  constructor(
    parser: HistoryParser<S>,
    now: Date,
    cursor: z.infer<ReturnType<typeof cursorSchema<S>>> | undefined,
  ) {
    this.#parser = parser;
    this.#now = now;
    this.#state = cursor?.state ?? parser.begin();
    this.#at = cursor?.at;
    this.#reread = new Reread(now, cursor ?? {});
  }

  get at(): unknown {
    return this.#at;
  }

  *lost({ lost, reread, cursor }: Lost): Generator<LogEntry<HistoryFields>> {
    const { newest } = this.#reread.stored;
    if (reread) {
      this.#state = this.#parser.begin();
      this.#reread.begin();
    }
    this.#at = cursor;
    yield { event: historyLost(this.#parser.source, this.#now.toISOString(), lost, newest) };
  }

  *line(line: Buffer): Generator<LogEntry<HistoryFields>> {
    yield* this.#told(this.#parser.line(this.#state, line));
  }

  *settle(): Generator<LogEntry<HistoryFields>> {
    yield* this.#told(this.#parser.settle(this.#state, this.#now));
  }

  /** Whether time alone may bring something to tell. */
  isWaiting(): boolean {
    return this.#parser.settle(structuredClone(this.#state), END_OF_TIME).length > 0;
  }

  moveTo(at: unknown): LogEntry<HistoryFields> {
    this.#at = at;
    return { cursor: structuredClone({ at, state: this.#state, ...this.#reread.stored }) };
  }

  *#told(events: readonly HistoryEvent[]): Generator<LogEntry<HistoryFields>> {
    for (const event of events) if (this.#reread.isNew(event)) yield { event };
  }
}

/** Reads a manager's text log behind `cursor`: events, each loss, and the next cursor. Throws `SourceAbsent` when there is no such log. */
export async function* readHistory<S>(
  parser: HistoryParser<S>,
  { system, now, signal, restsOn }: Pick<AgentContext, 'system' | 'now' | 'signal' | 'restsOn'>,
  cursor: unknown,
): AsyncGenerator<LogEntry<HistoryFields>> {
  const files = await stamp(system, [logFiles(parser.path)]);
  if (cursor === undefined && !(await hasLog(system, parser.path))) {
    restsOn(files);
    absent(`no ${parser.path}`);
  }
  const stored = cursor === undefined ? undefined : cursorSchema(parser.state).safeParse(cursor);
  if (stored?.success === false) {
    const issue = stored.error.issues[0];
    const lost = `the stored cursor cannot be understood (${issue?.path.join('.')}: ${issue?.message}); ${parser.path} is read from its start`;
    yield { event: historyLost(parser.source, now.toISOString(), lost) };
  }
  const reader = new HistoryReader(parser, now, stored?.data);
  let lines = 0;
  let last: { readonly cursor: unknown } | undefined;
  for await (const step of followLines(system, parser.path, reader.at, { signal, now })) {
    last = step;
    if ('lost' in step) yield* reader.lost(step);
    else if ('line' in step) yield* reader.line(step.line);
    if (++lines % CURSOR_EVERY === 0) yield reader.moveTo(step.cursor);
  }
  yield* reader.settle();
  const end = last === undefined ? reader.at : last.cursor;
  if (end !== undefined) yield reader.moveTo(end);
  if (!reader.isWaiting()) restsOn(files);
}
