/** What a real node writes, from this machine: its agents run twice, and what they spool is what the logical nodes of the fleet are made of. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathsBelow } from '../../src/config/paths.ts';
import type { BaselineItem } from '../../src/run/state.ts';
import type { Batch, BatchEvent, Header } from '../../src/spool/batch.ts';
import { decode } from '../../src/spool/decode.ts';
import { dsac } from './meter.ts';

export const INVENTORIES = ['packages', 'services', 'users'] as const;
export type Inventory = (typeof INVENTORIES)[number];

/** Every n-th run of cron an agent is due (cron runs each 5 minutes). The tests of docs hold README's table against the agents. */
export const DUE = { logins: 1, services: 1, 'package-history': 3, packages: 12, users: 12 } as const;
export type AgentName = keyof typeof DUE;
export const AGENTS = Object.keys(DUE) as AgentName[];

/** One of this many units is given the fields of one that runs, where systemd itself does not run here to tell. */
const RUNNING = 3;

export interface Model {
  readonly boot: Header['boot'];
  readonly machine: Header['machine'];
  readonly inventories: Readonly<Record<Inventory, readonly BaselineItem[]>>;
  /** What the package managers' logs told, oldest first. */
  readonly history: readonly BatchEvent[];
  /** The receipt of an uneventful run, per agent. */
  readonly receipts: ReadonlyMap<string, BatchEvent>;
}

function batchesIn(folder: string): Batch[] {
  return readdirSync(folder)
    .sort()
    .flatMap((name) => [...decode(readFileSync(join(folder, name)))].flatMap(({ batch }) => batch ?? []));
}

/** A unit as it looks while it runs. */
function running({ key, source, fields }: BaselineItem, at: number): BaselineItem {
  if (at % RUNNING !== 0 || fields.active !== undefined || !key.endsWith('.service'))
    return { key, source, fields };
  const unit = String(fields.unit);
  return {
    key,
    source,
    fields: {
      ...fields,
      active: 'active',
      sub: 'running',
      invocation: '0123456789abcdef0123456789abcdef',
      since: '2026-11-01T06:25:01.000Z',
      fragment: `/lib/systemd/system/${unit}`,
    },
  };
}

function itemsOf(batches: readonly Batch[], inventory: Inventory): BaselineItem[] {
  const snapshot = batches.find(({ header }) => header.agent === inventory && header.kind === 'snapshot');
  const items = [...(snapshot?.events() ?? [])].map(({ item, source, after }) => ({
    key: item!,
    source: source!,
    fields: after!,
  }));
  if (items.length === 0)
    throw new Error(`the ${inventory} agent finds nothing on this machine to make a fleet of`);
  return inventory === 'services' ? items.map(running) : items;
}

/** Runs this machine's agents in a temporary home and answers what they wrote. */
export async function modelOfThisMachine(): Promise<Model> {
  const home = mkdtempSync(join(tmpdir(), 'dsac-fleet-model-'));
  try {
    await dsac(home, 'init');
    await dsac(home, 'agent');
    await dsac(home, 'agent', ...AGENTS);
    const batches = batchesIn(join(pathsBelow(home).out, 'new'));
    const last = batches.findLast(({ header }) => header.kind === 'receipt')!;
    return {
      boot: last.header.boot,
      machine: last.header.machine,
      inventories: {
        packages: itemsOf(batches, 'packages'),
        services: itemsOf(batches, 'services'),
        users: itemsOf(batches, 'users'),
      },
      history: batches
        .filter(({ header }) => header.agent === 'package-history')
        .flatMap((batch) => [...batch.events()]),
      receipts: new Map([...last.events()].map((event) => [event.item!.slice('agent/'.length), event])),
    };
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}
