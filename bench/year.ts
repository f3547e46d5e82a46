/**
 * A store as a year of many nodes leaves it: logins, services, and packages that are upgraded some at a time, each told by dpkg's log, by apt's and by
 * the inventory. Its tables are the store's own; rows are put in past the loader, which a bench of reports has no time for.
 */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { openStore } from '../src/store/store.ts';
import { storedDate } from '../src/store/times.ts';
import { randomFrom } from '../test/torture/fault.ts';

const DAY = 86_400_000;
const HOUR = 3_600_000;
const PACKAGES = 800;
const EPOCH = '20250101000000-aaaaaa';
export const AGENTS = ['logins', 'services', 'package-history', 'packages', 'users', 'receipts'] as const;
type Agent = (typeof AGENTS)[number];
const INVENTORIES: readonly string[] = ['services', 'packages', 'users'];

export interface Year {
  readonly events: number;
  readonly nodes: number;
  readonly seed: number;
}

/** What was put in. */
export interface Told {
  readonly events: number;
  readonly batches: number;
}

interface Stream {
  seq: number;
  sha256: string;
  time: string;
  first: string;
}

interface Node {
  readonly id: string;
  readonly host: string;
  readonly streams: Map<Agent, Stream>;
}

/** One event, but for what its batch has in common. */
interface Happening {
  readonly time: number;
  readonly since?: number;
  readonly action: string;
  readonly item: string;
  readonly source: string;
  readonly before?: string;
  readonly after?: string;
  readonly by?: string;
  readonly data?: string;
}

function insertInto(database: DatabaseSync, table: string, columns: string): StatementSync {
  const marks = columns.split(', ').map(() => '?');
  return database.prepare(`insert into ${table} (${columns}) values (${marks.join(', ')})`);
}

class Chronicle {
  readonly #database: DatabaseSync;
  readonly #random: () => number;
  readonly #batch: StatementSync;
  readonly #event: StatementSync;
  events = 0;
  batches = 0;

  constructor(database: DatabaseSync, seed: number) {
    this.#database = database;
    this.#random = randomFrom(seed);
    this.#batch = insertInto(
      database,
      'batches',
      'id, node, agent, epoch, seq, uuid, kind, host, time, since, loaded, prev, sha256, events, state_items, state_digest',
    );
    this.#event = insertInto(
      database,
      'events',
      'batch, idx, node, agent, time, since, collected, action, item, source, derived, before_json, after_json, by_json, data_json',
    );
  }

  below(n: number): number {
    return Math.floor(this.#random() * n);
  }

  add(node: Node, agent: Agent, made: number, happenings: readonly Happening[]): void {
    const id = ++this.batches;
    const time = storedDate(new Date(made));
    const sha256 = id.toString(16).padStart(64, 'f');
    const last = node.streams.get(agent);
    const seq = (last?.seq ?? 0) + 1;
    const isInventory = INVENTORIES.includes(agent);
    const kind = agent === 'receipts' ? 'receipt' : isInventory ? 'changes' : 'log';
    const digest = isInventory ? sha256 : null;
    const uuid = `00000000-0000-7000-8000-${id.toString(16).padStart(12, '0')}`;
    const place = [id, node.id, agent, EPOCH, seq, uuid, kind, node.host, time, last?.time ?? null] as const;
    const rest = [
      time,
      last?.sha256 ?? null,
      sha256,
      happenings.length,
      isInventory ? 1 : null,
      digest,
    ] as const;
    this.#batch.run(...place, ...rest);
    node.streams.set(agent, { seq, sha256, time, first: last?.first ?? time });
    for (const [idx, one] of happenings.entries()) {
      this.#event.run(
        id,
        idx,
        node.id,
        agent,
        storedDate(new Date(one.time)),
        one.since === undefined ? null : storedDate(new Date(one.since)),
        time,
        one.action,
        one.item,
        one.source,
        0,
        one.before ?? null,
        one.after ?? null,
        one.by ?? null,
        one.data ?? null,
      );
    }
    this.events += happenings.length;
  }

  logins(node: Node, now: number): void {
    const happenings = Array.from({ length: 10 }, (_, n): Happening => {
      const data = `{"from":"10.${this.below(256)}.${this.below(256)}.${this.below(256)}","pid":${this.below(4e6)},"user":"u${this.below(500)}"}`;
      const action = ['login', 'logout', 'login-failed'][this.below(3)]!;
      return {
        time: now - 1000 * (10 - n),
        action,
        item: `session/pts-${this.below(40)}`,
        source: 'wtmp',
        data,
      };
    });
    this.add(node, 'logins', now, happenings);
  }

  services(node: Node, now: number): void {
    const happenings = Array.from({ length: 6 }, (): Happening => {
      const [before, after] = ['{"active":"active","sub":"running"}', '{"active":"failed","sub":"failed"}'];
      const item = `unit/service-${this.below(200)}.service`;
      return { time: now, since: now - HOUR, action: 'failed', item, source: 'systemd', before, after };
    });
    this.add(node, 'services', now, happenings);
  }

  users(node: Node, now: number): void {
    const after = `{"gid":100,"shell":"/bin/bash","uid":${this.below(60_000)}}`;
    const item = `user/u${this.batches}`;
    this.add(node, 'users', now, [
      { time: now, since: now - HOUR, action: 'added', item, source: 'passwd', after },
    ]);
  }

  /** Some packages are upgraded together; within the hour the inventory sees it too. */
  upgrade(node: Node, now: number): void {
    const first = this.below(PACKAGES);
    const count = 1 + this.below(11);
    const recorded: Happening[] = [];
    const seen: Happening[] = [];
    const look = now + HOUR / 2;
    for (let n = 0; n < count; n++) {
      const item = `dpkg/package-${(first + n) % PACKAGES}/amd64`;
      const [before, after] = [`{"version":"1.${this.batches}-1"}`, `{"version":"1.${this.batches + 1}-1"}`];
      const change = { action: 'upgraded', item, before, after };
      const by = '{"command":"apt-get upgrade","uid":1000,"user":"alice"}';
      recorded.push({ ...change, time: now + 1000 * n, source: 'dpkg' });
      recorded.push({ ...change, time: now, source: 'apt', by });
      seen.push({ ...change, time: look, since: look - HOUR, source: 'dpkg' });
    }
    this.add(node, 'package-history', now + 60_000, recorded);
    this.add(node, 'packages', look, seen);
  }

  visit(node: Node, now: number): void {
    const die = this.below(100);
    if (die < 70) this.logins(node, now);
    else if (die < 90) this.services(node, now);
    else if (die < 98) this.upgrade(node, now);
    else this.users(node, now);
    if (die % 10 === 0) this.add(node, 'receipts', now, []);
  }

  /** What the store keeps of streams and nodes beside their batches; all of them are complete. */
  account(nodes: readonly Node[]): void {
    const node = insertInto(this.#database, 'nodes', 'node, host, first_seen, last_seen');
    const register = insertInto(this.#database, 'register', 'node, how, since');
    const stream = insertInto(
      this.#database,
      'streams',
      'node, agent, epoch, started, first_seq, last_seq, last_time, last_sha256, batches, named_seq, named_sha256, named_time',
    );
    const range = insertInto(
      this.#database,
      'ranges',
      'node, agent, epoch, first_seq, last_seq, first_time, last_time',
    );
    const agents = insertInto(
      this.#database,
      'agents',
      'node, agent, time, outcome, every_ms, receipt_epoch, receipt_seq',
    );
    for (const { id, host, streams } of nodes) {
      const firsts = [...streams.values()].map(({ first }) => first).sort();
      const lasts = [...streams.values()].map(({ time }) => time).sort();
      node.run(id, host, firsts[0]!, lasts.at(-1)!);
      register.run(id, 'contact', firsts[0]!);
      for (const [agent, { seq, sha256, time, first }] of streams) {
        stream.run(id, agent, EPOCH, first, 1, seq, time, sha256, seq, seq, sha256, time);
        range.run(id, agent, EPOCH, 1, seq, first, time);
        if (agent !== 'receipts') agents.run(id, agent, lasts.at(-1)!, 'ok', 7 * DAY, EPOCH, seq);
      }
    }
  }
}

/** Sets the indexes of these tables aside, which are quicker to make of all rows at once; answers what makes them again. */
function withoutIndexes(database: DatabaseSync): () => void {
  const indexes = database
    .prepare(
      `select name, sql from sqlite_master where type = 'index' and sql is not null and tbl_name in ('events', 'batches')`,
    )
    .all() as { name: string; sql: string }[];
  for (const { name } of indexes) database.exec(`drop index \`${name}\``);
  return () => {
    for (const { sql } of indexes) database.exec(sql);
  };
}

/** Makes the store of a home as large as asked for, up to this moment. */
export async function makeYear(home: string, { events, nodes: many, seed }: Year): Promise<Told> {
  await (await openStore(undefined, { home })).close();
  using database = new DatabaseSync(join(home, 'var/lib/dsac/store.db'));
  // Written once, in place: a store half made is of no use.
  database.exec('pragma journal_mode = off; pragma synchronous = off; pragma cache_size = -262144');
  database.exec('begin');
  const restore = withoutIndexes(database);
  const chronicle = new Chronicle(database, seed);
  const nodes = Array.from(
    { length: many },
    (_, n): Node => ({ id: randomUUID(), host: `host${n}`, streams: new Map() }),
  );
  const [from, to] = [Date.now() - 364 * DAY, Date.now() - HOUR];
  // Every stream begins, so that there are all of them.
  for (const node of nodes) for (const agent of AGENTS) chronicle.add(node, agent, from, []);
  for (let visit = 0; chronicle.events < events; visit++)
    chronicle.visit(nodes[visit % many]!, from + (chronicle.events / events) * (to - from));
  chronicle.account(nodes);
  restore();
  database.exec('commit');
  database.exec('pragma journal_mode = wal');
  return { events: chronicle.events, batches: chronicle.batches };
}
