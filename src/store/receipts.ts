/** Keeps `runs`, every run of every agent, and `agents`, the newest run of each. */
import type { Insertable, Kysely, Selectable } from 'kysely';
import { canonical } from '../spool/canonical.ts';
import type { DialectName } from './ddl.ts';
import type { FreshBatch } from './items.ts';
import type { Receipt } from './loadable.ts';
import { inPieces, insertRows, upsertRows } from './rows.ts';
import type { Tables } from './tables.ts';
import { toStored } from './times.ts';
import { wellFormed } from './wellformed.ts';

type AgentRow = Selectable<Tables['agents']>;

function runRow(batch: number, idx: number, node: string, receipt: Receipt): Insertable<Tables['runs']> {
  const { stream, sources } = receipt;
  return {
    batch,
    idx,
    node,
    agent: receipt.agent,
    time: toStored(receipt.time),
    outcome: receipt.outcome,
    duration_ms: receipt.duration_ms == null ? null : Math.round(receipt.duration_ms),
    events: receipt.events ?? null,
    items: receipt.items ?? null,
    every_ms: receipt.every_ms ?? null,
    head_epoch: stream?.epoch ?? null,
    head_seq: stream?.seq ?? null,
    head_sha256: stream?.sha256 ?? null,
    reason: receipt.reason == null ? null : wellFormed(receipt.reason),
    sources_json: sources == null ? null : canonical(sources),
  };
}

/** Whether `a` is of a later run than `b`: by the receipts' own numbering, and only between epochs by the clock. */
function isNewer(a: AgentRow, b: AgentRow | undefined): boolean {
  if (!b) return true;
  return a.receipt_epoch === b.receipt_epoch ? a.receipt_seq >= b.receipt_seq : a.time >= b.time;
}

/** Loads the receipts of new batches. `now`, as stored, bounds the times of nodes whose clock is ahead: they must not look alive for ever. */
export async function loadReceipts(
  db: Kysely<Tables>,
  dialect: DialectName,
  fresh: readonly FreshBatch[],
  now: string,
): Promise<void> {
  const runs = fresh.flatMap(({ id, batch }) =>
    batch.receipts.map((receipt, idx) => ({
      run: runRow(id, idx, batch.header.node, receipt),
      header: batch.header,
    })),
  );
  if (runs.length === 0) return;
  await insertRows(
    db,
    'runs',
    runs.map(({ run }) => run),
  );
  const newest = new Map<string, AgentRow>();
  for (const nodes of inPieces(db, [...new Set(runs.map(({ run }) => run.node))])) {
    const rows = await db.selectFrom('agents').selectAll().where('node', 'in', nodes).execute();
    for (const row of rows) newest.set(`${row.node} ${row.agent}`, row);
  }
  const changed = new Map<string, AgentRow>();
  for (const { run, header } of runs) {
    const { node, agent, outcome } = run;
    const row: AgentRow = {
      node,
      agent,
      time: run.time < now ? run.time : now,
      outcome,
      every_ms: run.every_ms ?? null,
      reason: run.reason ?? null,
      receipt_epoch: header.epoch,
      receipt_seq: header.seq,
    };
    const key = `${node} ${agent}`;
    if (!isNewer(row, newest.get(key))) continue;
    newest.set(key, row);
    changed.set(key, row);
  }
  await upsertRows(db, dialect, 'agents', [...changed.values()], {
    keys: ['node', 'agent'],
    update: ['time', 'outcome', 'every_ms', 'reason', 'receipt_epoch', 'receipt_seq'],
  });
}
