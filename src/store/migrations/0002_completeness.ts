/** Version 2: what completeness is read from. Tables for it, filled from what version 1 holds. */
import { type Kysely, sql } from 'kysely';
import { AheadTally } from '../ahead.ts';
import { digestAgrees } from '../completeness.ts';
import type { TableSpec } from '../ddl.ts';
import { insertRows } from '../rows.ts';
import type { Tables } from '../tables.ts';

const stream = { node: 'uuid', agent: 'name', epoch: 'name' } as const;

export const tables: readonly TableSpec[] = [
  {
    name: 'ranges',
    columns: {
      ...stream,
      first_seq: 'integer',
      last_seq: 'integer',
      first_time: 'time',
      last_time: 'time',
    },
    primary: ['node', 'agent', 'epoch', 'first_seq'],
    indexes: [['node', 'agent', 'epoch', 'last_seq']],
  },
  {
    name: 'named_heads',
    columns: { ...stream, seq: 'integer', sha256: 'sha256', time: 'time' },
    primary: ['node', 'agent', 'epoch', 'seq', 'sha256'],
  },
  {
    name: 'mismatches',
    columns: {
      node: 'uuid',
      agent: 'name',
      from_batch: 'integer',
      to_batch: 'integer?',
      from_time: 'time',
      to_time: 'time?',
    },
    primary: ['node', 'agent', 'from_batch'],
  },
  {
    name: 'losses',
    columns: { batch: 'integer', idx: 'integer', node: 'uuid', agent: 'name', time: 'time' },
    primary: ['batch', 'idx'],
    indexes: [['node', 'time']],
  },
  {
    name: 'ahead',
    columns: {
      node: 'uuid',
      agent: 'name',
      day: 'name',
      batches: 'integer',
      ahead_ms: 'integer',
      first_loaded: 'time',
      last_loaded: 'time',
      first_told: 'time',
      last_told: 'time',
    },
    primary: ['node', 'agent', 'day'],
  },
  {
    name: 'register',
    columns: {
      node: 'uuid',
      host: 'key?',
      how: 'name',
      since: 'time',
      pinned_key: 'name?',
      retired: 'time?',
      reason: 'text?',
    },
    primary: ['node'],
  },
];

/** Unbroken runs of numbers; `seq - row_number()` is the same for all numbers of one. */
const RANGES = sql`
  insert into ranges (node, agent, epoch, first_seq, last_seq, first_time, last_time)
  select r.node, r.agent, r.epoch, r.first_seq, r.last_seq,
    case when f.time < f.loaded then f.time else f.loaded end, case when l.time < l.loaded then l.time else l.loaded end
  from (
    select node, agent, epoch, min(seq) as first_seq, max(seq) as last_seq
    from (
      select node, agent, epoch, seq, seq - row_number() over (partition by node, agent, epoch order by seq) as island
      from batches
    ) as numbered
    group by node, agent, epoch, island
  ) as r
  join batches f on f.node = r.node and f.agent = r.agent and f.epoch = r.epoch and f.seq = r.first_seq
  join batches l on l.node = r.node and l.agent = r.agent and l.epoch = r.epoch and l.seq = r.last_seq`;

const HEAD_IS_HERE = sql`b.node = r.node and b.agent = r.agent and b.epoch = r.head_epoch and b.seq = r.head_seq`;

/** Heads that receipts name and that have not come. */
const NAMED_HEADS = sql`
  insert into named_heads (node, agent, epoch, seq, sha256, time)
  select r.node, r.agent, r.head_epoch, r.head_seq, r.head_sha256, min(r.time) from runs r
  where r.head_seq > 0 and not exists (select 1 from batches b where ${HEAD_IS_HERE})
  group by r.node, r.agent, r.head_epoch, r.head_seq, r.head_sha256`;

/** Heads that receipts name and that are here with another digest. */
const NAMED_FORKS = sql`
  insert into forks (node, agent, epoch, seq, sha256, reason, uuid, time, loaded)
  select r.node, r.agent, r.head_epoch, r.head_seq, r.head_sha256, 'named', null, min(r.time), max(b.loaded)
  from runs r join batches b on ${HEAD_IS_HERE} and b.sha256 <> r.head_sha256
  where not exists (
    select 1 from forks f where f.node = r.node and f.agent = r.agent and f.epoch = r.head_epoch and f.seq = r.head_seq
      and f.sha256 = r.head_sha256)
  group by r.node, r.agent, r.head_epoch, r.head_seq, r.head_sha256`;

/** When the newest head was first named, where version 1 kept when it was last. */
const NAMED_TIME = sql`
  update streams set named_time = coalesce((
    select min(r.time) from runs r
    where r.node = streams.node and r.agent = streams.agent and r.head_epoch = streams.epoch and r.head_seq = streams.named_seq
  ), named_time) where named_seq > 0`;

const LOSSES = sql`
  insert into losses (batch, idx, node, agent, time)
  select e.batch, e.idx, e.node, e.agent, case when e.time < b.loaded then e.time else b.loaded end
  from events e join batches b on b.id = e.batch where e.action = 'history-lost'`;

const REGISTER = sql`
  insert into register (node, how, since) select node, 'contact', first_seen from nodes`;

interface Told {
  readonly node: string;
  readonly agent: string;
  readonly loaded: string;
  readonly told: string;
}

/** Times that the centre had not reached when it was told of them: few, so that they are sorted out here. */
async function fillAhead(db: Kysely<Tables>): Promise<void> {
  const { rows } = await sql<Told>`
    select b.node, b.agent, b.loaded, max(t.told) as told from (
      select id as batch, time as told from batches where time > loaded
      union all select e.batch, max(e.time) from events e join batches b on b.id = e.batch where e.time > b.loaded group by e.batch
    ) as t join batches b on b.id = t.batch group by b.id, b.node, b.agent, b.loaded order by b.id`.execute(
    db,
  );
  const tally = new AheadTally();
  for (const { node, agent, loaded, told } of rows) tally.add({ node, agent }, told, loaded);
  await insertRows(db, 'ahead', tally.rows());
}

/** Inventories whose newest state does not replay to the digest that their node gave. Which older ones did not, version 1 does not tell. */
async function fillMismatches(db: Kysely<Tables>): Promise<void> {
  const newest = await sql<{ node: string; agent: string; epoch: string; id: number; time: string }>`
    select b.node, b.agent, b.epoch, b.id, b.time
    from streams s join batches b on b.node = s.node and b.agent = s.agent and b.epoch = s.epoch and b.seq = s.last_seq
    where b.state_digest is not null and not exists (
      select 1 from streams n where n.node = s.node and n.agent = s.agent
        and (n.started > s.started or (n.started = s.started and n.epoch > s.epoch)))`.execute(db);
  for (const { node, agent, epoch, id, time } of newest.rows) {
    if ((await digestAgrees({ db }, node, agent, epoch)) !== false) continue;
    await db.insertInto('mismatches').values({ node, agent, from_batch: id, from_time: time }).execute();
  }
}

/** Fills the new tables. May be run again where an earlier attempt stopped half-way. */
export async function fill(db: Kysely<Tables>): Promise<void> {
  for (const { name } of tables) await sql`delete from ${sql.table(name)}`.execute(db);
  for (const query of [RANGES, NAMED_HEADS, NAMED_FORKS, NAMED_TIME, LOSSES, REGISTER])
    await query.execute(db);
  await fillAhead(db);
  await fillMismatches(db);
}
