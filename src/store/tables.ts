/**
 * The rows of the store as TypeScript sees them; docs/store.md says what each column means. JSON columns hold canonical
 * JSON text, time columns the text of times.ts.
 */
import type { Generated, Selectable } from 'kysely';

interface NodesTable {
  node: string;
  host: string;
  machine: string | null;
  public_key: string | null;
  first_seen: string;
  last_seen: string;
}

interface BatchesTable {
  id: Generated<number>;
  node: string;
  agent: string;
  epoch: string;
  seq: number;
  uuid: string;
  kind: string;
  host: string;
  boot: string | null;
  time: string;
  since: string | null;
  loaded: string;
  prev: string | null;
  sha256: string;
  events: number;
  state_items: number | null;
  state_digest: string | null;
}

interface StreamsTable {
  node: string;
  agent: string;
  epoch: string;
  started: string | null;
  first_seq: number;
  last_seq: number;
  last_time: string | null;
  last_sha256: string | null;
  batches: number;
  named_seq: number;
  named_sha256: string | null;
  named_time: string | null;
}

interface RangesTable {
  node: string;
  agent: string;
  epoch: string;
  first_seq: number;
  last_seq: number;
  first_time: string;
  last_time: string;
}

interface NamedHeadsTable {
  node: string;
  agent: string;
  epoch: string;
  seq: number;
  sha256: string;
  time: string;
}

interface ForksTable {
  node: string;
  agent: string;
  epoch: string;
  seq: number;
  sha256: string;
  reason: string;
  uuid: string | null;
  time: string;
  loaded: string;
}

interface EventsTable {
  batch: number;
  idx: number;
  node: string;
  agent: string;
  time: string;
  since: string | null;
  collected: string;
  action: string;
  item: string | null;
  source: string | null;
  derived: number;
  before_json: string | null;
  after_json: string | null;
  by_json: string | null;
  data_json: string | null;
}

interface ItemsTable {
  node: string;
  agent: string;
  item: string;
  from_batch: number;
  to_batch: number | null;
  valid_from: string;
  valid_to: string | null;
  source: string | null;
  fields_json: string;
}

interface MismatchesTable {
  node: string;
  agent: string;
  from_batch: number;
  to_batch: number | null;
  from_time: string;
  to_time: string | null;
}

interface LossesTable {
  batch: number;
  idx: number;
  node: string;
  agent: string;
  time: string;
}

interface AheadTable {
  node: string;
  agent: string;
  day: string;
  batches: number;
  ahead_ms: number;
  first_loaded: string;
  last_loaded: string;
  first_told: string;
  last_told: string;
}

interface RunsTable {
  batch: number;
  idx: number;
  node: string;
  agent: string;
  time: string;
  outcome: string;
  duration_ms: number | null;
  events: number | null;
  items: number | null;
  every_ms: number | null;
  head_epoch: string | null;
  head_seq: number | null;
  head_sha256: string | null;
  reason: string | null;
  sources_json: string | null;
}

interface AgentsTable {
  node: string;
  agent: string;
  time: string;
  outcome: string;
  every_ms: number | null;
  reason: string | null;
  receipt_epoch: string;
  receipt_seq: number;
}

interface RegisterTable {
  node: string;
  host: string | null;
  how: string;
  since: string;
  retired: string | null;
  reason: string | null;
}

interface MigrationsTable {
  version: number;
  name: string;
  applied: string;
}

export interface Tables {
  nodes: NodesTable;
  batches: BatchesTable;
  streams: StreamsTable;
  ranges: RangesTable;
  named_heads: NamedHeadsTable;
  forks: ForksTable;
  events: EventsTable;
  items: ItemsTable;
  mismatches: MismatchesTable;
  losses: LossesTable;
  ahead: AheadTable;
  runs: RunsTable;
  agents: AgentsTable;
  register: RegisterTable;
  migrations: MigrationsTable;
}

export type StreamRow = Selectable<StreamsTable>;
