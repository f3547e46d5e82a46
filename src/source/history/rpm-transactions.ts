/**
 * The transactions in the history databases of dnf 4 (`/var/lib/dnf/history.sqlite`), dnf 5 (`/usr/lib/sysimage/libdnf5/transaction_history.sqlite`) and
 * yum (`/var/lib/yum/history/history-*.sqlite`), in one shape. Schemas and enumerations: libdnf's swdb, libdnf5's transaction db, yum's history.py.
 */
import type { DatabaseSync } from 'node:sqlite';
import * as z from 'zod';
import { text } from '../../host/text.ts';

/** What happened to a package; `replaced`: another version or another package took its place. */
export type Role = 'install' | 'upgrade' | 'downgrade' | 'reinstall' | 'remove' | 'replaced';

const string = z
  .instanceof(Uint8Array)
  .nullable()
  .transform((bytes) => (bytes === null ? '' : text(bytes)));
const whole = z.number().nullable();

const itemSchema = z.object({
  id: z.number().describe('number of the item in the database'),
  name: string,
  epoch: string.describe('empty or 0: none'),
  version: string,
  release: string,
  arch: string,
  repository: string.describe('id of the repository; @System: the package was installed before'),
  action: string.describe('number (dnf 4) or word (dnf 5, yum) of the action'),
  reason: string.describe('why it is in the transaction'),
  done: z.number().describe('1 when the change took place'),
});

const transactionSchema = z.object({
  id: z.number(),
  begin: z.number().describe('seconds since 1970'),
  end: whole.describe('seconds since 1970; null: has not ended'),
  uid: whole.describe('login uid; -1 or 4294967295: not set'),
  command: string,
  comment: string,
  outcome: z.enum(['ok', 'failed', 'started']),
});

const replacementSchema = z.object({ old: z.number(), by: z.number() });
const lineSchema = z.object({ line: string });

export type TransactionItem = Omit<z.infer<typeof itemSchema>, 'action' | 'reason' | 'done'> & {
  readonly role: Role;
  readonly done: boolean;
  /** Came as a dependency. */
  readonly auto: boolean;
};

export interface Transaction extends z.infer<typeof transactionSchema> {
  readonly items: readonly TransactionItem[];
  /** Item numbers: what was replaced, and by what. */
  readonly replacements: readonly z.infer<typeof replacementSchema>[];
  /** What scripts and rpm printed. */
  readonly output: readonly string[];
}

/** How one kind of history database is asked. Queries take a transaction number. */
interface Dialect {
  readonly transactions: string;
  readonly items: string;
  readonly replacements: string | undefined;
  readonly output: string | undefined;
  readonly roles: Readonly<Record<string, Role>>;
  readonly dependency: readonly string[];
}

const blob = (expression: string, as: string): string => `CAST(${expression} AS BLOB) AS ${as}`;
const REPLACEMENTS = `SELECT r.trans_item_id AS old, r.by_trans_item_id AS by FROM item_replaced_by r
  JOIN trans_item t ON t.id = r.trans_item_id WHERE t.trans_id = ?`;
const OUTPUT = `SELECT ${blob('line', 'line')} FROM console_output WHERE trans_id = ? ORDER BY id`;

function dnf4(columns: ReadonlySet<string>): Dialect {
  const done = columns.has('trans.state') ? 'state' : 'done';
  const comment = columns.has('trans.comment') ? 'comment' : 'NULL';
  return {
    transactions: `SELECT id, dt_begin AS begin, dt_end AS "end", user_id AS uid, ${blob('cmdline', 'command')}, ${blob(comment, 'comment')},
      CASE WHEN dt_end IS NULL THEN 'started' WHEN ${done} = 1 THEN 'ok' ELSE 'failed' END AS outcome FROM trans WHERE id > ? ORDER BY id`,
    items: `SELECT t.id, ${blob('r.name', 'name')}, ${blob('r.epoch', 'epoch')}, ${blob('r.version', 'version')},
      ${blob('r.release', 'release')}, ${blob('r.arch', 'arch')}, ${blob('p.repoid', 'repository')}, ${blob('t.action', 'action')},
      ${blob('t.reason', 'reason')}, t.${done} = 1 AS done FROM trans_item t JOIN rpm r ON r.item_id = t.item_id
      LEFT JOIN repo p ON p.id = t.repo_id WHERE t.trans_id = ? ORDER BY t.id`,
    replacements: columns.has('item_replaced_by.trans_item_id') ? REPLACEMENTS : undefined,
    output: OUTPUT,
    roles: {
      1: 'install',
      2: 'downgrade',
      3: 'replaced',
      4: 'install',
      5: 'replaced',
      6: 'upgrade',
      7: 'replaced',
      8: 'remove',
      9: 'reinstall',
      10: 'replaced',
    },
    dependency: ['1', '4'],
  };
}

function dnf5(columns: ReadonlySet<string>): Dialect {
  const command = columns.has('trans.description') ? 'description' : 'cmdline';
  const comment = columns.has('trans.comment') ? 'comment' : 'NULL';
  const named = columns.has('rpm.name_id');
  return {
    transactions: `SELECT t.id, dt_begin AS begin, dt_end AS "end", user_id AS uid, ${blob(command, 'command')}, ${blob(comment, 'comment')},
      CASE s.name WHEN 'Ok' THEN 'ok' WHEN 'Started' THEN 'started' ELSE 'failed' END AS outcome FROM trans t
      LEFT JOIN trans_state s ON s.id = t.state_id WHERE t.id > ? ORDER BY t.id`,
    items: `SELECT t.id, ${blob(named ? 'n.name' : 'r.name', 'name')}, ${blob('r.epoch', 'epoch')}, ${blob('r.version', 'version')},
      ${blob('r.release', 'release')}, ${blob(named ? 'a.name' : 'r.arch', 'arch')}, ${blob('p.repoid', 'repository')},
      ${blob('x.name', 'action')}, ${blob('y.name', 'reason')}, s.name = 'Ok' AS done FROM trans_item t JOIN rpm r ON r.item_id = t.item_id
      ${named ? 'JOIN pkg_names n ON n.id = r.name_id JOIN archs a ON a.id = r.arch_id' : ''}
      JOIN trans_item_action x ON x.id = t.action_id LEFT JOIN trans_item_reason y ON y.id = t.reason_id
      JOIN trans_item_state s ON s.id = t.state_id LEFT JOIN repo p ON p.id = t.repo_id WHERE t.trans_id = ? ORDER BY t.id`,
    replacements: REPLACEMENTS,
    output: OUTPUT,
    roles: {
      Install: 'install',
      Upgrade: 'upgrade',
      Downgrade: 'downgrade',
      Reinstall: 'reinstall',
      Remove: 'remove',
      Replaced: 'replaced',
    },
    dependency: ['Dependency', 'Weak Dependency'],
  };
}

function yum(columns: ReadonlySet<string>): Dialect {
  const command = columns.has('trans_cmdline.cmdline')
    ? '(SELECT cmdline FROM trans_cmdline c WHERE c.tid = b.tid LIMIT 1)'
    : 'NULL';
  return {
    transactions: `SELECT b.tid AS id, b.timestamp AS begin, e.timestamp AS "end", b.loginuid AS uid, ${blob(command, 'command')},
      ${blob('NULL', 'comment')}, CASE WHEN e.tid IS NULL THEN 'started' WHEN e.return_code = 0 THEN 'ok' ELSE 'failed' END AS outcome
      FROM trans_beg b LEFT JOIN trans_end e ON e.tid = b.tid WHERE b.tid > ? ORDER BY b.tid`,
    items: `SELECT t.rowid AS id, ${blob('p.name', 'name')}, ${blob('p.epoch', 'epoch')}, ${blob('p.version', 'version')},
      ${blob('p.release', 'release')}, ${blob('p.arch', 'arch')}, ${blob('NULL', 'repository')}, ${blob('t.state', 'action')},
      ${blob('t.state', 'reason')}, t.done IN (1, 'TRUE') AS done FROM trans_data_pkgs t JOIN pkgtups p ON p.pkgtupid = t.pkgtupid
      WHERE t.tid = ? ORDER BY t.rowid`,
    replacements: undefined,
    output: columns.has('trans_script_stdout.line')
      ? `SELECT ${blob('line', 'line')} FROM trans_script_stdout WHERE tid = ? ORDER BY lid`
      : undefined,
    roles: {
      Install: 'install',
      'True-Install': 'install',
      'Dep-Install': 'install',
      Obsoleting: 'install',
      Update: 'upgrade',
      Updated: 'replaced',
      Downgrade: 'downgrade',
      Downgraded: 'replaced',
      Reinstall: 'reinstall',
      Reinstalled: 'replaced',
      Erase: 'remove',
      Obsoleted: 'replaced',
    },
    dependency: ['Dep-Install'],
  };
}

/** `table.column` of all tables. */
function columnsOf(database: DatabaseSync): Set<string> {
  const rows = database
    .prepare('SELECT m.name AS t, c.name AS c FROM sqlite_master m, pragma_table_info(m.name) c')
    .all();
  return new Set(rows.map(({ t, c }) => `${t}.${c}`));
}

function dialectOf(columns: ReadonlySet<string>): Dialect {
  if (columns.has('trans.state_id')) return dnf5(columns);
  if (columns.has('trans.dt_begin')) return dnf4(columns);
  if (columns.has('trans_beg.tid')) return yum(columns);
  throw new Error(
    'it has neither the tables of dnf (trans, trans_item, rpm) nor those of yum (trans_beg, trans_data_pkgs)',
  );
}

function itemsOf(database: DatabaseSync, dialect: Dialect, id: number): TransactionItem[] {
  return database
    .prepare(dialect.items)
    .all(id)
    .flatMap((row) => {
      const { action, reason, done, ...item } = itemSchema.parse(row);
      const role = Object.hasOwn(dialect.roles, action) ? dialect.roles[action]! : undefined;
      if (role === undefined) return [];
      return [{ ...item, role, done: done === 1, auto: dialect.dependency.includes(reason) }];
    });
}

/** The transactions with a number above `after`, in their order. Throws when the database is none of a known kind. */
export function* transactionsAfter(database: DatabaseSync, after: number): Generator<Transaction> {
  const dialect = dialectOf(columnsOf(database));
  const all = <T>(query: string | undefined, schema: z.ZodType<T>, id: number): T[] =>
    query === undefined
      ? []
      : database
          .prepare(query)
          .all(id)
          .map((row) => schema.parse(row));
  for (const transaction of all(dialect.transactions, transactionSchema, after)) {
    yield {
      ...transaction,
      items: itemsOf(database, dialect, transaction.id),
      replacements: all(dialect.replacements, replacementSchema, transaction.id),
      output: all(dialect.output, lineSchema, transaction.id).map(({ line }) => line),
    };
  }
}
