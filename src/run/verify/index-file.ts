/** The archive's index against its segments: every file and every batch in both, each file as it was written. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { reasonOf } from '../../errors.ts';
import { type Finding, placed, type Row } from './findings.ts';
import type { Ledger } from './ledger.ts';

const NAMED = 's.node, s.agent, s.epoch, s.host';

const QUESTIONS: readonly (readonly [
  sql: string,
  finding: (row: Row) => Pick<Finding, 'message'> & Partial<Finding>,
])[] = [
  [
    `select path from catalogue.segments where path not in (select path from files) order by path`,
    ({ path }) => ({ message: `index.db knows ${path}, which is not here`, file: String(path) }),
  ],
  [
    `select label from files where path not in (select path from catalogue.segments) order by path`,
    ({ label }) => ({ message: 'index.db does not know this file', file: String(label) }),
  ],
  [
    `select f.label, c.sha256 as expected, f.sha256 as received from files f join catalogue.segments c on c.path = f.path
     where c.sha256 is not null and c.sha256 <> f.sha256 order by f.path`,
    ({ label, expected, received }) => ({
      message: 'the file is not as it was written',
      file: String(label),
      expected: String(expected),
      received: String(received),
    }),
  ],
  [
    `select c.node, c.agent, c.epoch, c.seq, c.sha256, g.path from catalogue.batches c join catalogue.segments g on g.id = c.segment
     where g.path in (select path from files) and not exists (
       select 1 from batches b join streams s on s.id = b.stream join files f on f.id = b.file
       where s.node = c.node and s.agent = c.agent and s.epoch = c.epoch and b.seq = c.seq and b.sha256 = c.sha256 and f.path = g.path)
     order by g.path`,
    (row) => ({
      message: `index.db has a batch in ${row.path} that is not there`,
      file: String(row.path),
      ...placed(row),
      expected: String(row.sha256),
    }),
  ],
  [
    `select ${NAMED}, b.seq, b.sha256, f.label, b.at from batches b join streams s on s.id = b.stream join files f on f.id = b.file
     where not exists (select 1 from catalogue.batches c where c.node = s.node and c.agent = s.agent and c.epoch = s.epoch
       and c.seq = b.seq and c.sha256 = b.sha256)
     order by b.file, b.at`,
    (row) => ({
      message: 'index.db does not know this batch',
      ...placed(row),
      received: String(row.sha256),
    }),
  ],
];

/** How an index is attached that nothing may change: where it cannot even be locked (a copy on read-only media), as it lies there. */
function attach(db: DatabaseSync, path: string): void {
  const url = pathToFileURL(path).href;
  try {
    db.prepare('attach database ? as catalogue').run(`${url}?mode=ro`);
    db.prepare('select count(*) from catalogue.segments').get();
  } catch (error) {
    if (existsSync(`${path}-wal`)) throw error;
    try {
      db.exec('detach database catalogue');
    } catch {
      // it was not attached
    }
    db.prepare('attach database ? as catalogue').run(`${url}?immutable=1`);
    db.prepare('select count(*) from catalogue.segments').get();
  }
}

/** Tells where the index of an archive and its segments differ. False when there is no index: it is no part of the evidence. */
export function checkIndex(ledger: Ledger, root: string): boolean {
  const path = join(root, 'index.db');
  if (!existsSync(path)) return false;
  try {
    attach(ledger.db, path);
    for (const [sql, finding] of QUESTIONS)
      for (const row of ledger.db.prepare(sql).iterate() as Iterable<Row>)
        ledger.tell({ kind: 'index', ...finding(row) });
  } catch (error) {
    ledger.tell({ kind: 'index', message: `cannot be read: ${reasonOf(error)}`, file: path });
  }
  return true;
}
