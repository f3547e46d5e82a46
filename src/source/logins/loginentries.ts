/** Runs the readers of logins over a machine's files: from a stored cursor to events and the next cursor. */
import { basename, dirname, join } from 'node:path';
import * as z from 'zod';
import { text } from '../../host/text.ts';
import { type AgentContext, absent, type LogEntry } from '../../plugin/agent.ts';
import { followLines } from '../follow-lines.ts';
import { localClock } from '../localtime.ts';
import { AuthlogReader, authlogStateSchema } from './authlog.ts';
import { BtmpReader, btmpStateSchema } from './btmp.ts';
import { entryCursor, JournalReader, journalStateSchema, parseEntry } from './journal.ts';
import { newestEntry, readJournal } from './journalctl.ts';
import { type LoginData, type LoginEvent, loginEvent, notAhead } from './sessions.ts';
import { followUtmp, utmpCursorSchema } from './utmplog.ts';
import type { RecordReader } from './utmpreader.ts';
import { WtmpReader, wtmpStateSchema } from './wtmp.ts';
import { isRotatedDb, WtmpdbFile, WtmpdbReader, wtmpdbStateSchema } from './wtmpdb.ts';

/** What a reader needs of its agent's context. */
export type Look = Pick<AgentContext, 'system' | 'now' | 'signal'>;
export type LoginEntry = LogEntry<LoginData>;

/** Events after which the place in a source is noted. */
const NOTE_EVERY = 1000;

const place = z.unknown().describe('place in the log, see src/source/follow.ts');
const entrySchema = z
  .string()
  .regex(/^(?:[a-z]=[0-9a-f]+;?)+$/)
  .optional();
const journalCursorSchema = z.strictObject({
  after: entrySchema.describe("journald's cursor of the last entry read"),
  seen: entrySchema.describe('that of the newest entry at the last look'),
  gone: z.literal(true).optional().describe('the journal is gone, and that was told'),
  state: journalStateSchema,
});
const untilSchema = z
  .string()
  .optional()
  .describe('after a loss: what is older than this was told before, and is passed over');
const authlogCursorSchema = z.strictObject({ at: place, state: authlogStateSchema, until: untilSchema });
const recordCursor = <S>(state: z.ZodType<S>) =>
  z.strictObject({ at: utmpCursorSchema, state, until: untilSchema });

/** `last`: the time up to which the source had been read. */
function historyLost(source: string, now: Date, detail: string, last?: string): LoginEntry {
  const span = last === undefined ? {} : { start: last };
  return { event: loginEvent(now.toISOString(), 'history-lost', `history/${source}`, { detail, ...span }) };
}

/** A source that was read and is not there any more: that is told once, then it is absent. */
export function* sourceGone(
  source: 'journal' | 'wtmpdb',
  { now }: Pick<Look, 'now'>,
  cursor: unknown,
  reason: string,
): Generator<LoginEntry> {
  const schema = source === 'journal' ? journalCursorSchema : wtmpdbStateSchema;
  const { data } = schema.safeParse(cursor);
  if (data === undefined || data.gone) absent(reason);
  const last = 'latest' in data ? new Date(Math.floor(data.latest / 1000)).toISOString() : data.state.time;
  yield historyLost(source, now, `it was read before and is gone: ${reason}`, last);
  yield { cursor: { ...data, gone: true } };
}

/** Passes over what was told before a loss, where a file that was cut or rewritten is read again: it is not known how far it had been. */
class Reread {
  readonly #now: string;
  #until: string | undefined;

  constructor(now: Date, until: string | undefined) {
    this.#now = now.toISOString();
    this.#until = until;
  }

  begin(last: string | undefined): void {
    if (last !== undefined) this.#until = notAhead(last, this.#now);
  }

  news(events: Iterable<LoginEvent>): Iterable<LoginEvent> {
    return this.#until === undefined ? events : this.#newer(events);
  }

  *#newer(events: Iterable<LoginEvent>): Generator<LoginEvent> {
    for (const event of events) {
      if (this.#until !== undefined && event.time <= this.#until) continue;
      // What a clock said that was ahead does not mean that what follows is new.
      if (event.time <= this.#now) this.#until = undefined;
      yield event;
    }
  }

  get stored(): { until?: string } {
    return this.#until === undefined ? {} : { until: this.#until };
  }
}

/** The stored cursor. One that is not understood is as good as none, and said to be lost. */
function* stored<C>(
  schema: z.ZodType<C>,
  cursor: unknown,
  source: string,
  now: Date,
): Generator<LoginEntry, C | undefined> {
  if (cursor === undefined) return undefined;
  const parsed = schema.safeParse(cursor);
  if (parsed.success) return parsed.data;
  const field = parsed.error.issues[0]?.path.join('.') || 'cursor';
  yield historyLost(source, now, `the stored position is not understood (${field}): reading from the start`);
  return undefined;
}

/** Counts the events that pass, so that the place is noted now and then. */
class Passing {
  #count = 0;

  *pass(events: Iterable<LoginEvent>): Generator<LoginEntry> {
    for (const event of events) {
      this.#count += 1;
      yield { event };
    }
  }

  /** Whether it is time to note the place; then counts anew. */
  isDue(): boolean {
    if (this.#count < NOTE_EVERY) return false;
    this.#count = 0;
    return true;
  }
}

interface RecordSource<S extends { last?: string | undefined }> {
  readonly name: string;
  readonly path: string;
  readonly state: z.ZodType<S>;
  reader(state: S | undefined): RecordReader & { state(): S };
}

/** wtmp or btmp, rotated copies first. */
async function* recordEntries<S extends { last?: string | undefined }>(
  look: Look,
  source: RecordSource<S>,
  cursor: unknown,
): AsyncGenerator<LoginEntry> {
  const { system } = look;
  const now = look.now.toISOString();
  const from = yield* stored(recordCursor(source.state), cursor, source.name, look.now);
  const reader = source.reader(from?.state);
  const passing = new Passing();
  const reread = new Reread(look.now, from?.until);
  const cursor_ = () => ({ cursor: { at, state: reader.state(), ...reread.stored } });
  let at = from?.at;
  for await (const step of followUtmp(system, source.path, from?.at, look)) {
    if ('part' in step) yield* passing.pass(reread.news(reader.read(step.part, step.offset, now)));
    else if ('torn' in step) yield* passing.pass(reread.news(reader.torn(step.torn, step.offset, now)));
    else if ('lost' in step) {
      yield* passing.pass(reread.news(reader.finish(now)));
      const { last } = reader.state();
      yield historyLost(source.name, look.now, step.lost, last);
      if (step.again) reread.begin(last);
      at = step.cursor;
    } else {
      at = step.cursor;
      if (!passing.isDue()) continue;
      yield* passing.pass(reread.news(reader.finish(now)));
      yield cursor_();
    }
  }
  yield* passing.pass(reread.news(reader.finish(now)));
  if (at !== undefined) yield cursor_();
}

/** Logins, logouts, boots, shutdowns and clock changes of a wtmp file. */
export function wtmpEntries(look: Look, path: string, cursor: unknown): AsyncGenerator<LoginEntry> {
  const reader = (state: z.infer<typeof wtmpStateSchema> | undefined): WtmpReader => new WtmpReader(state);
  return recordEntries(look, { name: 'wtmp', path, state: wtmpStateSchema, reader }, cursor);
}

/** Failed attempts of a btmp file. */
export function btmpEntries(look: Look, path: string, cursor: unknown): AsyncGenerator<LoginEntry> {
  const reader = (state: z.infer<typeof btmpStateSchema> | undefined): BtmpReader => new BtmpReader(state);
  return recordEntries(look, { name: 'btmp', path, state: btmpStateSchema, reader }, cursor);
}

/** Sessions and boots of a wtmpdb database, rotated databases beside it first. */
export async function* wtmpdbEntries(look: Look, path: string, cursor: unknown): AsyncGenerator<LoginEntry> {
  const { system, signal } = look;
  const state = yield* stored(wtmpdbStateSchema, cursor, 'wtmpdb', look.now);
  const reader = new WtmpdbReader(look.now, state);
  const folder = dirname(path);
  const rotated = ((await system.list(folder)) ?? []).filter(isRotatedDb);
  const fresh = rotated.filter((name) => !state?.rotated.includes(name));
  const open = async (name: string): Promise<WtmpdbFile> =>
    new WtmpdbFile(await system.path(join(folder, name)), system.live);
  if (await lostItsPlace(reader, [basename(path), ...rotated], open)) {
    const lost = `row ${state?.id}, read last, is neither in ${path} nor in a rotated database: rows behind it may be gone too`;
    yield historyLost('wtmpdb', look.now, lost, reader.latest);
  }
  for (const name of [...fresh, basename(path)]) {
    const db = await open(name);
    try {
      for (const events of reader.read(db)) {
        signal.throwIfAborted();
        for (const event of events) yield { event };
        yield { cursor: reader.state() };
      }
    } finally {
      db.close();
    }
  }
  reader.sawRotated(rotated);
  yield { cursor: reader.state() };
}

/** Whether the row that was read last is in none of the databases. A rotation moves it to another file, which may be removed later: that is no loss. */
async function lostItsPlace(
  reader: WtmpdbReader,
  names: readonly string[],
  open: (name: string) => Promise<WtmpdbFile>,
): Promise<boolean> {
  if (!reader.hasPlace) return false;
  for (const [index, name] of names.entries()) {
    const db = await open(name);
    try {
      if (!reader.isIn(db)) continue;
      if (index > 0) reader.leavePlace();
      return false;
    } finally {
      db.close();
    }
  }
  reader.leavePlace();
  return true;
}

/** What the journal says of sshd, su, sudo, login and logind. */
export async function* journalEntries(look: Look, cursor: unknown): AsyncGenerator<LoginEntry> {
  const now = look.now.toISOString();
  const from = yield* stored(journalCursorSchema, cursor, 'journal', look.now);
  const reader = new JournalReader(from?.state);
  const passing = new Passing();
  // A journal that comes back with what it held, and no place in it, is read as far as it is newer.
  const reread = new Reread(
    look.now,
    from !== undefined && from.after === undefined ? from.state.time : undefined,
  );
  const newest = await newestEntry(look.system, look.signal);
  let { after, seen } = from ?? {};
  for await (const step of readJournal(look.system, { after, seen }, look.signal)) {
    if (step.lost !== undefined) {
      yield historyLost('journal', look.now, step.lost, from?.state.time);
      [after, seen] = [undefined, undefined];
      continue;
    }
    yield* passing.pass(reread.news(reader.read(step.line, now)));
    after = entryCursor(parseEntry(step.line) ?? {}) ?? after;
    seen = undefined;
    if (passing.isDue()) yield { cursor: { after, state: reader.state() } };
  }
  yield* passing.pass(reread.news(reader.finish(now)));
  yield { cursor: { after, ...(newest === undefined ? {} : { seen: newest }), state: reader.state() } };
}

/** What auth.log or secure says of the same, rotated copies first. Answers whether time alone may bring more: a sudo command waits for its rest. */
export async function* authlogEntries(
  look: Look,
  path: string,
  cursor: unknown,
): AsyncGenerator<LoginEntry, boolean> {
  const now = look.now.toISOString();
  const clock = await localClock(look.system);
  const from = yield* stored(authlogCursorSchema, cursor, 'authlog', look.now);
  const reader = new AuthlogReader(from?.state);
  const passing = new Passing();
  const reread = new Reread(look.now, from?.until);
  let last: { readonly cursor: unknown } | undefined;
  let file = { path: '', changed: 0 };
  for await (const step of followLines(look.system, path, from?.at, look)) {
    last = step;
    if ('lost' in step) {
      const { time } = reader.state();
      yield historyLost('authlog', look.now, step.lost, time);
      if (step.again) reread.begin(time);
      continue;
    }
    if ('noted' in step) continue;
    if (step.path !== file.path) file = { path: step.path, changed: step.cursor.mtime };
    yield* passing.pass(reread.news(reader.read(text(step.line), clock, file.changed, now)));
    if (passing.isDue()) yield { cursor: { at: step.cursor, state: reader.state(), ...reread.stored } };
  }
  yield* passing.pass(reread.news(reader.finish(now)));
  const at = last === undefined ? from?.at : last.cursor;
  if (at !== undefined) yield { cursor: { at, state: reader.state(), ...reread.stored } };
  return reader.state().trail.sudo !== undefined;
}
