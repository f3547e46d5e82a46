/** The history of dnf and yum: what each transaction did, and how far each database has been read. */
import type { DatabaseSync } from 'node:sqlite';
import * as z from 'zod';
import { reasonOf } from '../../errors.ts';
import { stamp } from '../../host/stamp.ts';
import type { System } from '../../host/system.ts';
import { type AgentContext, absent, type LogEntry } from '../../plugin/agent.ts';
import { parsePasswd } from '../accounts/accounts.ts';
import { withDatabase } from '../sqlite-copy.ts';
import {
  failedCommand,
  type HistoryAction,
  type HistoryEvent,
  type HistoryFields,
  historyLost,
  isStale,
  type PackageChange,
  transactionOf,
} from './packagehistory.ts';
import { type Role, type Transaction, type TransactionItem, transactionsAfter } from './rpm-transactions.ts';

const DNF4 = '/var/lib/dnf/history.sqlite';
const DNF5 = '/usr/lib/sysimage/libdnf5/transaction_history.sqlite';
const YUM = '/var/lib/yum/history';
const FILES = [`${YUM}/*`, DNF4, DNF5];
const EPOCH = '1970-01-01T00:00:00.000Z';
/** Longest text kept of what scripts printed. */
const MAX_OUTPUT = 4000;

const ACTIONS: Readonly<Record<Role, HistoryAction>> = {
  install: 'installed',
  upgrade: 'upgraded',
  downgrade: 'downgraded',
  reinstall: 'reinstalled',
  remove: 'removed',
  replaced: 'removed',
};

const cursorSchema = z.strictObject({
  databases: z
    .record(
      z.string(),
      z.strictObject({
        id: z.int().describe('number of the last transaction told'),
        begin: z.number().describe('its begin, seconds since 1970: tells a recreated database'),
      }),
    )
    .describe('by path'),
});

type Reached = z.infer<typeof cursorSchema>['databases'];

/** Account names by uid, the first of each. */
export type Users = ReadonlyMap<number, string>;

function isoTime(seconds: number | null): string | undefined {
  const time = seconds === null ? undefined : new Date(seconds * 1000);
  return time === undefined || Number.isNaN(time.getTime()) || time.getUTCFullYear() > 9999
    ? undefined
    : time.toISOString();
}

function versionOf({ epoch, version, release }: TransactionItem): string {
  return `${epoch === '' || epoch === '0' ? '' : `${epoch}:`}${version}-${release}`;
}

/** Which item took a replaced one's place: as recorded, else the one of the same name that came in the same transaction. */
function replacerOf(
  item: TransactionItem,
  { items, replacements }: Transaction,
): TransactionItem | undefined {
  const recorded = items.filter(({ id }) => replacements.some(({ old, by }) => old === item.id && by === id));
  const candidates =
    recorded.length > 0 ? recorded : items.filter(({ role }) => role !== 'replaced' && role !== 'remove');
  const namesakes = candidates.filter(({ name }) => name === item.name);
  return namesakes.find(({ arch }) => arch === item.arch) ?? namesakes[0] ?? recorded[0];
}

/** uid -1 is how "not set" is written, 4294967295 how it is kept in 32 bits. */
function whoOf(
  { uid, command }: Transaction,
  users: Users,
): { user: string | undefined; uid: number | undefined; command: string } {
  const known = uid === null || uid < 0 || uid >= 0xffff_ffff ? undefined : uid;
  return { user: known === undefined ? undefined : users.get(known), uid: known, command };
}

/** rpm's own complaints among what was printed: dnf takes a failed %post for a success, so this is the only trace of it. */
function complaints(output: readonly string[]): string | undefined {
  const lines = output.filter((line) => /^(?:error|warning): /.test(line));
  return lines.length === 0 ? undefined : lines.join('\n').slice(0, MAX_OUTPUT);
}

function commonFields(transaction: Transaction, label: string): Partial<HistoryFields> {
  const error =
    complaints(transaction.output) ??
    (transaction.outcome === 'failed' ? 'the transaction failed' : undefined);
  const end = isoTime(transaction.end);
  return {
    transaction: `${label}:${transaction.id}`,
    ...(end && { end }),
    ...(transaction.outcome === 'started' && { unfinished: true as const }),
    ...(error !== undefined && { error }),
    ...(transaction.comment !== '' && { comment: transaction.comment }),
  };
}

/** The events of a transaction, one per package; a version that was replaced is the "before" of what replaced it. */
export function transactionEvents(transaction: Transaction, label: string, users: Users): HistoryEvent[] {
  const time = isoTime(transaction.begin) ?? EPOCH;
  const by = whoOf(transaction, users);
  const common = commonFields(transaction, label);
  if (transaction.items.length === 0 && transaction.outcome === 'failed')
    return [failedCommand(time, by, common)];
  const replacers = new Map(
    transaction.items.flatMap((item) =>
      item.role === 'replaced' ? [[item, replacerOf(item, transaction)] as const] : [],
    ),
  );
  const before = new Map(
    [...replacers].flatMap(([item, replacer]) =>
      replacer?.name === item.name ? [[replacer, versionOf(item)] as const] : [],
    ),
  );
  const changes = transaction.items.flatMap((item): PackageChange[] => {
    const replacer = replacers.get(item);
    if (replacer?.name === item.name) return [];
    const goes = item.role === 'remove' || item.role === 'replaced';
    const version = versionOf(item);
    return [
      {
        time,
        action: item.done ? ACTIONS[item.role] : 'failed',
        manager: 'rpm',
        name: item.name,
        arch: item.arch,
        from: goes ? version : (before.get(item) ?? (item.role === 'reinstall' ? version : undefined)),
        to: goes ? undefined : version,
        by,
        fields: {
          ...common,
          auto: item.auto && item.role === 'install' ? true : undefined,
          replaced_by: replacer?.name,
          repository: item.repository.startsWith('@') ? undefined : item.repository,
        },
      },
    ];
  });
  return transactionOf(changes);
}

type Look = Pick<AgentContext, 'system' | 'now' | 'restsOn'>;
type Entry = LogEntry<HistoryFields>;

/** A history database and what its transactions' ids begin with. */
interface Database {
  readonly path: string;
  readonly label: string;
}

async function databasesOf(system: System): Promise<Database[]> {
  const yum = ((await system.list(YUM)) ?? []).flatMap((name) => {
    const date = /^history-(.+)\.sqlite$/.exec(name)?.[1];
    return date === undefined ? [] : [{ path: `${YUM}/${name}`, label: `yum-${date}` }];
  });
  const all = [...yum, { path: DNF4, label: 'dnf4' }, { path: DNF5, label: 'dnf5' }];
  const stats = await Promise.all(all.map(({ path }) => system.stat(path)));
  return all.filter((_, index) => stats[index]?.isFile());
}

async function usersOf(system: System): Promise<Users> {
  const users = new Map<number, string>();
  for (const { uid, name } of parsePasswd((await system.read('/etc/passwd')) ?? Buffer.alloc(0)).entries)
    if (uid !== undefined && !users.has(uid)) users.set(uid, name);
  return users;
}

/** What one database holds behind what was reached. */
interface News {
  readonly transactions: readonly Transaction[];
  /** Set when what was reached is not in the database any more: where it stands instead, before `transactions`. */
  readonly instead?: Reached[string];
}

/** With what was reached gone, only the time of a transaction says whether it is new. */
function newsOfOther(database: DatabaseSync, { begin }: Reached[string]): Required<News> {
  const all = [...transactionsAfter(database, 0)];
  const transactions = all.filter((transaction) => transaction.begin > begin);
  const last = all.at(-1);
  return {
    transactions,
    instead: last === undefined ? { id: 0, begin } : { id: last.id, begin: last.begin },
  };
}

function newsOf(database: DatabaseSync, reached: Reached[string] | undefined): News {
  if (reached === undefined) return { transactions: [...transactionsAfter(database, 0)] };
  if (reached.id === 0) return { transactions: newsOfOther(database, reached).transactions };
  const [last, ...transactions] = transactionsAfter(database, reached.id - 1);
  const isThere = last?.id === reached.id && last.begin === reached.begin;
  return isThere ? { transactions } : newsOfOther(database, reached);
}

async function readNews(system: System, path: string, reached: Reached[string] | undefined): Promise<News> {
  try {
    return await withDatabase(system, path, (database) => newsOf(database, reached));
  } catch (error) {
    throw new Error(`${path}: ${reasonOf(error)}`, { cause: error });
  }
}

/** The transactions before the first that is still under way. */
function settled(transactions: readonly Transaction[], now: Date): readonly Transaction[] {
  const running = transactions.findIndex(
    ({ outcome, begin }) => outcome === 'started' && !isStale(isoTime(begin) ?? EPOCH, now),
  );
  return running < 0 ? transactions : transactions.slice(0, running);
}

/** Tells once of each database that was read and is not there any more. Should it come back, only what is newer is new. */
function* gone(reached: Reached, present: readonly Database[], now: Date): Generator<Entry> {
  for (const [path, { id, begin }] of Object.entries(reached)) {
    if (id === 0 || present.some((database) => database.path === path)) continue;
    reached[path] = { id: 0, begin };
    yield { event: historyLost('dnf', now.toISOString(), `${path} is gone`, isoTime(begin)) };
  }
}

/** Yields a database's news and moves `reached` along. */
async function* databaseEntries(
  { system, now }: Look,
  { path, label }: Database,
  reached: Reached,
  users: Users,
): AsyncGenerator<Entry> {
  const { transactions, instead } = await readNews(system, path, reached[path]);
  if (instead !== undefined) {
    const lost = `${path} was replaced or cut: transaction ${reached[path]?.id} is not the one that was read`;
    const since = isoTime(reached[path]?.begin ?? null);
    reached[path] = instead;
    yield { event: historyLost('dnf', now.toISOString(), lost, since) };
  }
  for (const transaction of settled(transactions, now)) {
    for (const event of transactionEvents(transaction, label, users)) yield { event };
    reached[path] = { id: transaction.id, begin: transaction.begin };
    yield { cursor: structuredClone({ databases: reached }) };
  }
}

/** Reads what dnf and yum recorded behind `cursor`. Throws `SourceAbsent` when there is no history database. */
export async function* dnfEntries(look: Look, cursor: unknown): AsyncGenerator<Entry> {
  const { system, now, restsOn } = look;
  const files = await stamp(system, FILES);
  const databases = await databasesOf(system);
  if (databases.length === 0 && cursor === undefined) {
    restsOn(files);
    absent(`no ${DNF4}, ${DNF5} or ${YUM}/history-*.sqlite`);
  }
  const stored = cursorSchema.safeParse(cursor ?? { databases: {} });
  if (!stored.success) {
    const lost = `the stored cursor cannot be understood (${stored.error.issues[0]?.message}); the history is read from its start`;
    yield { event: historyLost('dnf', now.toISOString(), lost) };
  }
  const reached: Reached = stored.data?.databases ?? {};
  const users = await usersOf(system);
  yield* gone(reached, databases, now);
  for (const database of databases) yield* databaseEntries(look, database, reached, users);
  yield { cursor: structuredClone({ databases: reached }) };
}
