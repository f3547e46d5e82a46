/** Runs the readers of logins over a machine's files: from a stored cursor to events and the next cursor. */
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';
import { text } from '../../host/text.ts';
import type { AgentContext, LogEntry } from '../../plugin/agent.ts';
import { followLines } from '../follow.ts';
import { localClock } from '../localtime.ts';
import { AuthlogReader, authlogStateSchema } from './authlog.ts';
import { BtmpReader, btmpStateSchema } from './btmp.ts';
import { entryCursor, JournalReader, journalStateSchema, parseEntry } from './journal.ts';
import { readJournal } from './journalctl.ts';
import { type LoginData, type LoginEvent, loginEvent } from './sessions.ts';
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
const journalCursorSchema = z.strictObject({
  after: z
    .string()
    .regex(/^(?:[a-z]=[0-9a-f]+;?)+$/)
    .optional()
    .describe("journald's cursor of the last entry read"),
  state: journalStateSchema,
});
const authlogCursorSchema = z.strictObject({ at: place, state: authlogStateSchema });
const recordCursor = <S>(state: z.ZodType<S>) => z.strictObject({ at: utmpCursorSchema, state });

function historyLost(source: string, now: Date, detail: string): LoginEntry {
  return { event: loginEvent(now.toISOString(), 'history-lost', `history/${source}`, { detail }) };
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

interface RecordSource<S> {
  readonly name: string;
  readonly path: string;
  readonly state: z.ZodType<S>;
  reader(state: S | undefined): RecordReader & { state(): S };
}

/** wtmp or btmp, rotated copies first. */
async function* recordEntries<S>(
  look: Look,
  source: RecordSource<S>,
  cursor: unknown,
): AsyncGenerator<LoginEntry> {
  const { system, signal } = look;
  const now = look.now.toISOString();
  const from = yield* stored(recordCursor(source.state), cursor, source.name, look.now);
  const reader = source.reader(from?.state);
  const passing = new Passing();
  let at = from?.at;
  for await (const step of followUtmp(system, source.path, from?.at, signal)) {
    if ('part' in step) yield* passing.pass(reader.read(step.part, step.offset, now));
    else if ('torn' in step) yield* passing.pass(reader.torn(step.torn, step.offset, now));
    else if ('lost' in step) {
      yield historyLost(source.name, look.now, step.lost);
      at = step.cursor;
    } else {
      at = step.cursor;
      if (!passing.isDue()) continue;
      yield* passing.pass(reader.finish(now));
      yield { cursor: { at, state: reader.state() } };
    }
  }
  yield* passing.pass(reader.finish(now));
  if (at !== undefined) yield { cursor: { at, state: reader.state() } };
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
  const reader = new WtmpdbReader(state);
  const rotated = ((await system.list(dirname(path))) ?? []).filter(isRotatedDb);
  const fresh = rotated.filter((name) => !state?.rotated.includes(name));
  for (const name of [...fresh, basename(path)]) {
    const db = new WtmpdbFile(await system.path(join(dirname(path), name)), system.live);
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

/** What the journal says of sshd, su, sudo, login and logind. */
export async function* journalEntries(look: Look, cursor: unknown): AsyncGenerator<LoginEntry> {
  const now = look.now.toISOString();
  const from = yield* stored(journalCursorSchema, cursor, 'journal', look.now);
  const reader = new JournalReader(from?.state);
  const passing = new Passing();
  let after = from?.after;
  for await (const step of readJournal(look.system, after, look.signal)) {
    if (step.lost !== undefined) {
      yield historyLost('journal', look.now, step.lost);
      after = undefined;
      continue;
    }
    yield* passing.pass(reader.read(step.line, now));
    after = entryCursor(parseEntry(step.line) ?? {}) ?? after;
    if (passing.isDue()) yield { cursor: { after, state: reader.state() } };
  }
  yield* passing.pass(reader.finish(now));
  yield { cursor: { after, state: reader.state() } };
}

/** What auth.log or secure says of the same, rotated copies first. */
export async function* authlogEntries(look: Look, path: string, cursor: unknown): AsyncGenerator<LoginEntry> {
  const now = look.now.toISOString();
  const clock = await localClock(look.system);
  const from = yield* stored(authlogCursorSchema, cursor, 'authlog', look.now);
  const reader = new AuthlogReader(from?.state);
  const passing = new Passing();
  let last: { readonly cursor: unknown } | undefined;
  let file = { path: '', changed: 0 };
  for await (const step of followLines(look.system, path, from?.at, { signal: look.signal })) {
    last = step;
    if ('lost' in step) {
      yield historyLost('authlog', look.now, step.lost);
      continue;
    }
    if (step.path !== file.path) file = { path: step.path, changed: step.cursor.mtime };
    yield* passing.pass(reader.read(text(step.line), clock, file.changed, now));
    if (passing.isDue()) yield { cursor: { at: step.cursor, state: reader.state() } };
  }
  yield* passing.pass(reader.finish(now));
  const at = last === undefined ? from?.at : last.cursor;
  if (at !== undefined) yield { cursor: { at, state: reader.state() } };
}
