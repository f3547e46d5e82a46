/**
 * Rows of wtmpdb (wtmpdb(8)): one SQLite row per session, in microseconds, whose Logout is filled in when it ends. Type 1 is a boot, whose Logout is
 * the shutdown; 2 a run level; 3 a user's session.
 *
 * `wtmpdb rotate` moves old rows to `wtmp_YYYYMMDD.db` (or `wtmpdb_…`) and the ids of new rows may then begin again: a cursor therefore
 * holds the last row's id and its Login, and where that row is not there any more, Login alone decides what is new.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import * as z from 'zod';
import { text } from '../../host/text.ts';
import {
  bootDetail,
  isoTime,
  itemKey,
  type LoginEvent,
  loginEvent,
  OpenSessions,
  openSchema,
  orNothing,
  secondsBetween,
} from './sessions.ts';

const BOOT = 1;
const USER = 3;
/** Rows that are read at once. */
const PAGE = 5000;
/** How long a writer may hold the database, in milliseconds. */
const BUSY_MS = 5000;

/** Numbers as REAL and texts as BLOB, so that no value can make the whole read fail. */
const COLUMNS = `CAST(ID AS REAL) AS ID, CAST(Type AS REAL) AS Type, CAST(User AS BLOB) AS User, CAST(Login AS REAL) AS Login,
  CAST(Logout AS REAL) AS Logout, CAST(TTY AS BLOB) AS TTY, CAST(RemoteHost AS BLOB) AS RemoteHost, CAST(Service AS BLOB) AS Service`;

const nullableText = z.instanceof(Uint8Array).transform(text).nullable();

const rowSchema = z.object({
  ID: z.int().describe('row id'),
  Type: z.int().describe('1 boot, 2 run level, 3 user'),
  User: nullableText.describe('account name'),
  Login: z.int().describe('start, microseconds since 1970'),
  Logout: z.int().nullable().describe('end, microseconds since 1970; null: still open'),
  TTY: nullableText.describe('terminal; null or empty where there is none'),
  RemoteHost: nullableText.describe('where from; for a boot the kernel release'),
  Service: nullableText.describe('PAM service; null for sshd itself'),
});

/** One row of table `wtmp`. */
export type WtmpdbRow = z.infer<typeof rowSchema>;

export const wtmpdbStateSchema = z.strictObject({
  id: z.int().describe('id of the last row that was read'),
  login: z.number().describe('its Login'),
  latest: z.int().describe('the latest Login of all rows read; of one in the future, when it was read'),
  ahead: z.array(z.int()).optional().describe('Logins of rows read that are later than that'),
  open: openSchema.describe('open sessions by type, Login and user'),
  boot: z
    .strictObject({ slot: z.string(), item: z.string(), start: z.string() })
    .optional()
    .describe('the boot that the machine is in'),
  down: z.string().optional().describe('when that boot was shut down'),
  rotated: z.array(z.string()).describe('rotated databases that were read'),
  moved: z
    .literal(true)
    .optional()
    .describe('that row was rotated away, or its loss was told: Login alone says what is new'),
  gone: z.literal(true).optional().describe('the database is gone, and that was told'),
});

/** What must be remembered between two runs. */
export type WtmpdbState = z.infer<typeof wtmpdbStateSchema>;

const freshWtmpdb: WtmpdbState = { id: 0, login: 0, latest: 0, open: [], rotated: [] };

/** Whether a file of the database's folder is a rotated database. */
export function isRotatedDb(name: string): boolean {
  return /^wtmp(?:db)?_\d{8}\.db$/.test(name);
}

/** Bytes 18 and 19 of a database are 2 where it uses a write-ahead log (sqlite.org/fileformat.html). */
function usesWal(path: string): boolean {
  const header = Buffer.alloc(20);
  const file = openSync(path, 'r');
  try {
    readSync(file, header, 0, 20, 0);
  } finally {
    closeSync(file);
  }
  return header[18] === 2 || header[19] === 2;
}

/** A wtmpdb database, open for reading. Nothing is written, not even beside it: where a reader would have to make files, it takes the file as it is. */
export class WtmpdbFile {
  readonly #db: DatabaseSync;

  /** `live`: other processes may write to it. */
  constructor(path: string, live: boolean) {
    const url = pathToFileURL(path);
    if (!live || usesWal(path)) url.searchParams.set('immutable', '1');
    this.#db = new DatabaseSync(url, { readOnly: true, timeout: BUSY_MS });
  }

  close(): void {
    this.#db.close();
  }

  /** The Login of the row with this id. */
  loginOf(id: number): number | undefined {
    const row = this.#db.prepare('SELECT CAST(Login AS REAL) AS Login FROM wtmp WHERE ID = ?').get(id);
    return row === undefined ? undefined : Number(row.Login);
  }

  /** Whether any row has this Login. */
  hasLogin(login: number): boolean {
    return this.#db.prepare('SELECT 1 FROM wtmp WHERE Login = ? LIMIT 1').get(login) !== undefined;
  }

  /** Up to 5000 rows with a greater id, and with a Login later than `after` where that is given. */
  rowsAfter(id: number, after?: number): unknown[] {
    return this.#db
      .prepare(
        `SELECT ${COLUMNS} FROM wtmp WHERE ID > ?1 AND (?2 IS NULL OR Login > ?2) ORDER BY ID LIMIT ?3`,
      )
      .all(id, after ?? null, PAGE);
  }

  /** Rows that have ended and began at `since` (microseconds) or later. */
  *ended(since: number): Generator<unknown> {
    yield* this.#db
      .prepare(`SELECT ${COLUMNS} FROM wtmp WHERE Logout IS NOT NULL AND Login >= ? ORDER BY Logout`)
      .iterate(since);
  }
}

const stamp = (micros: number): string =>
  `${Math.floor(micros / 1e6)}.${String(micros % 1e6).padStart(6, '0')}`;
const slotOf = ({ Type, Login, User }: WtmpdbRow): string => `${Type}/${Login}/${User ?? ''}`;
const timeOf = (micros: number): string | undefined => isoTime(Math.floor(micros / 1e6), micros % 1e6);

type Moment = { readonly at: number; readonly row: WtmpdbRow; readonly end: boolean };

/** Turns rows into events. */
export class WtmpdbReader {
  readonly #sessions: OpenSessions;
  /** The present, in microseconds since 1970. */
  readonly #now: number;
  #state: WtmpdbState;

  constructor(now: Date, state: WtmpdbState = freshWtmpdb) {
    this.#sessions = new OpenSessions(state.open);
    this.#now = now.getTime() * 1000;
    this.#state = state;
  }

  state(): WtmpdbState {
    return { ...this.#state, open: this.#sessions.saved() };
  }

  /** Whether the last row read ought to be in the database. */
  get hasPlace(): boolean {
    return this.#state.id > 0 && !this.#state.moved && !this.#state.gone;
  }

  /** The latest Login of all rows read, as a time. */
  get latest(): string | undefined {
    return this.#state.latest > 0 ? timeOf(this.#state.latest) : undefined;
  }

  /** Whether the database has the last row read, under whatever id. */
  isIn(db: WtmpdbFile): boolean {
    return db.loginOf(this.#state.id) === this.#state.login || db.hasLogin(this.#state.login);
  }

  /** From here on the last row is not looked for, until another is read. */
  leavePlace(): void {
    this.#state = { ...this.#state, moved: true };
  }

  /** All that is new in a database: ends of sessions known to be open, then new rows by pages. Yields the events of each page. */
  *read(db: WtmpdbFile): Generator<LoginEvent[]> {
    const ended = [...this.#ended(db)];
    if (ended.length > 0) yield ended;
    const { id: last, login, latest } = this.#state;
    const isContinued = last === 0 || db.loginOf(last) === login;
    const after = isContinued ? undefined : latest;
    let id = isContinued ? last : 0;
    for (;;) {
      const rows = db.rowsAfter(id, after);
      if (rows.length === 0) return;
      id = Number((rows.at(-1) as WtmpdbRow).ID);
      yield [...this.#page(rows, !isContinued)];
    }
  }

  /** Notes which rotated databases there are, now that all of them are read. */
  sawRotated(names: readonly string[]): void {
    this.#state = { ...this.#state, rotated: [...names] };
  }

  *#ended(db: WtmpdbFile): Generator<LoginEvent> {
    const starts = [...this.#sessions.entries()].map(([slot]) => Number(slot.split('/')[1]));
    if (this.#state.boot !== undefined && this.#state.down === undefined)
      starts.push(Number(this.#state.boot.slot.split('/')[1]));
    if (starts.length === 0) return;
    for (const value of db.ended(starts.reduce((a, b) => Math.min(a, b)))) {
      const { data: row } = rowSchema.safeParse(value);
      if (row !== undefined) yield* this.#end(row);
    }
  }

  /** Notes that a row is read. A clock that was ahead must not make all that follows look read. */
  #reach(login: number): void {
    const { ahead: before = [], ...rest } = this.#state;
    const latest = Math.max(rest.latest, Math.min(login, this.#now));
    const ahead = [...new Set([...before, login])].filter((one) => one > latest);
    this.#state = { ...rest, latest, ...(ahead.length > 0 ? { ahead } : {}) };
  }

  /**
   * Rows of one page: starts and ends in the order of time, so that a boot finds the sessions before it ended. `isByLogin`: what is new is told by Login
   * alone.
   */
  *#page(rows: readonly unknown[], isByLogin: boolean): Generator<LoginEvent> {
    const moments: Moment[] = [];
    for (const value of rows) {
      const { ID, Login } = value as { ID: number; Login: number | null };
      const { moved: _, gone: __, ...rest } = this.#state;
      this.#state = { ...rest, id: ID, login: Login ?? 0 };
      if (isByLogin && Login !== null && this.#state.ahead?.includes(Login)) continue;
      const { data: row, error } = rowSchema.safeParse(value);
      if (row === undefined || timeOf(row.Login) === undefined) {
        yield this.#damage(ID, error?.issues[0]?.path.join('.') ?? 'Login');
        continue;
      }
      this.#reach(row.Login);
      moments.push({ at: row.Login, row, end: false });
      if (row.Logout !== null) moments.push({ at: row.Logout, row, end: true });
    }
    moments.sort((a, b) => a.at - b.at || Number(b.end) - Number(a.end));
    for (const { row, end } of moments) yield* end ? this.#end(row) : this.#begin(row);
  }

  *#begin(row: WtmpdbRow): Generator<LoginEvent> {
    const time = timeOf(row.Login)!;
    if (row.Type === BOOT) yield* this.#bootUp(row, time);
    if (row.Type !== USER) return;
    yield* this.#sessions.begin(slotOf(row), {
      item: itemKey('session', 'wtmpdb', row.TTY || row.Service || '-', stamp(row.Login)),
      start: time,
      user: row.User ?? '',
      tty: orNothing(row.TTY),
      from: orNothing(row.RemoteHost),
      service: orNothing(row.Service),
    });
  }

  *#end(row: WtmpdbRow): Generator<LoginEvent> {
    const time = row.Logout === null ? undefined : timeOf(row.Logout);
    if (time === undefined) return;
    if (row.Type === USER) yield* this.#sessions.end(slotOf(row), time, 'logout');
    const { boot, down } = this.#state;
    if (row.Type !== BOOT || boot?.slot !== slotOf(row) || down !== undefined) return;
    this.#state = { ...this.#state, down: time };
    const { item, start } = boot;
    const span = { start, end: time, duration_s: secondsBetween(start, time), reason: 'shutdown' as const };
    yield loginEvent(time, 'shutdown', item, span);
  }

  *#bootUp(row: WtmpdbRow, time: string): Generator<LoginEvent> {
    const { boot, down } = this.#state;
    for (const [slot, session] of [...this.#sessions.entries()]) {
      const reason = down === undefined ? 'crash' : 'shutdown';
      if (session.start < time) yield* this.#sessions.end(slot, down ?? time, reason);
    }
    const item = itemKey('boot', 'wtmpdb', stamp(row.Login));
    this.#state = { ...this.#state, boot: { slot: slotOf(row), item, start: time }, down: undefined };
    const detail = bootDetail(row.RemoteHost ?? '', boot !== undefined && down === undefined);
    yield loginEvent(time, 'boot', item, { detail });
  }

  #damage(id: number, field: string): LoginEvent {
    const time = timeOf(this.#state.latest) ?? new Date(0).toISOString();
    const detail = `row ${id}: ${field} is not what wtmpdb writes`;
    return loginEvent(time, 'record-damaged', itemKey('damage', 'wtmpdb', id), { detail });
  }
}
