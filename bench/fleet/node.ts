/** A logical node: a key, chains and inventories of its own; what it writes is sealed as `dsac agent` seals it. */
import { generateKeyPairSync, type KeyObject, randomUUID } from 'node:crypto';
import { applied } from '../../src/run/parts.ts';
import type { Baseline, BaselineItem } from '../../src/run/state.ts';
import type { BatchEvent, Fields, Kind } from '../../src/spool/batch.ts';
import { canonical, stateDigest } from '../../src/spool/canonical.ts';
import { seal, uuidv7 } from '../../src/spool/encode.ts';
import { AGENTS, type AgentName, DUE, INVENTORIES, type Inventory, type Model } from './model.ts';

/** A batch on its way, and what the store must show of it. */
export interface Sent {
  readonly bytes: Buffer;
  readonly kind: Kind;
  readonly events: number;
}

/** Where a stream of a node has come to. */
export interface Chain {
  readonly epoch: string;
  readonly seq: number;
  readonly head: string | null;
  readonly ran: string | undefined;
}

/** What one agent found in one run. */
export interface Find {
  readonly agent: AgentName;
  readonly events?: readonly BatchEvent[];
  /** Send the inventory whole, too. */
  readonly whole?: boolean;
}

// Most items of a fleet are alike, and an inventory that nobody changed keeps its digest.
const texts = new WeakMap<Fields, string>();
const digests = new WeakMap<Baseline, string>();

function textOf(fields: Fields): string {
  const known = texts.get(fields);
  if (known !== undefined) return known;
  const text = canonical(fields);
  texts.set(fields, text);
  return text;
}

function digestOf(items: Baseline): string {
  const known = digests.get(items);
  if (known !== undefined) return known;
  const digest = stateDigest(Array.from(items.values(), ({ key, fields }) => [key, textOf(fields)] as const));
  digests.set(items, digest);
  return digest;
}

const isInventory = (agent: AgentName): agent is Inventory => INVENTORIES.includes(agent as Inventory);

export class FleetNode {
  readonly id = randomUUID();
  readonly host: string;
  readonly chains = new Map<string, Chain>();
  readonly #model: Model;
  readonly #key: KeyObject;
  readonly #publicKey: string;
  readonly #epoch: string;
  #inventories: Readonly<Record<Inventory, Baseline>>;

  constructor(model: Model, number: number, inventories: Readonly<Record<Inventory, Baseline>>) {
    this.host = `node${String(number).padStart(6, '0')}`;
    this.#model = model;
    this.#inventories = inventories;
    this.#epoch = `20261101020000-${number.toString(16).padStart(6, '0')}`;
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    this.#key = privateKey;
    this.#publicKey = Buffer.from(publicKey.export({ format: 'jwk' }).x!, 'base64url').toString('base64');
  }

  /** What is in an inventory now. */
  items(inventory: Inventory): readonly BaselineItem[] {
    return [...this.#inventories[inventory].values()];
  }

  /** One run of cron: what its due agents found, then the receipt. */
  *run(time: number, finds: readonly Find[]): Generator<Sent> {
    const at = new Date(time).toISOString();
    for (const find of finds) yield* this.#find(find, at);
    const receipts = finds.map((find) => this.#receipt(find, at));
    yield this.#next('receipts', 'receipt', receipts, new Date(time + 900).toISOString());
  }

  *#find({ agent, events = [], whole = false }: Find, at: string): Generator<Sent> {
    if (!isInventory(agent)) {
      if (events.length > 0) yield this.#next(agent, 'log', events, at);
      return;
    }
    if (events.length > 0) {
      const items = applied(this.#inventories[agent], events);
      this.#inventories = { ...this.#inventories, [agent]: items };
      yield this.#next(agent, 'changes', events, at, items);
    }
    if (!whole) return;
    const items = this.#inventories[agent];
    const present = Array.from(items.values(), ({ key, source, fields }) => ({
      time: at,
      action: 'present',
      item: key,
      source,
      after: fields,
    }));
    yield this.#next(agent, 'snapshot', present, at, items);
  }

  #receipt({ agent, events = [] }: Find, at: string): BatchEvent {
    const model = this.#model.receipts.get(agent)!;
    const { stream: _, ...data } = model.data!;
    const chain = this.chains.get(agent);
    return {
      ...model,
      time: at,
      data: {
        ...data,
        started: at,
        events: events.length,
        ...(isInventory(agent) ? { items: this.#inventories[agent].size } : {}),
        ...(chain ? { stream: { epoch: chain.epoch, seq: chain.seq, sha256: chain.head } } : {}),
      },
    };
  }

  #next(agent: string, kind: Kind, events: readonly BatchEvent[], at: string, items?: Baseline): Sent {
    const { epoch, seq, head, ran } = this.chains.get(agent) ?? {
      epoch: this.#epoch,
      seq: 0,
      head: null,
      ran: undefined,
    };
    const { bytes, sha256, count } = seal(
      {
        id: uuidv7(Date.parse(at)),
        node: this.id,
        host: this.host,
        agent,
        kind,
        epoch,
        seq: seq + 1,
        prev: head,
        time: at,
        since: ran,
        boot: this.#model.boot,
        machine: this.#model.machine,
        key: this.#publicKey,
        ...(items ? { state: { items: items.size, digest: digestOf(items) } } : {}),
      },
      events,
      this.#key,
    );
    this.chains.set(agent, { epoch, seq: seq + 1, head: sha256, ran: at });
    return { bytes, kind, events: count };
  }
}

/** The agents that are due in a node's n-th run. */
export function dueIn(run: number): AgentName[] {
  return AGENTS.filter((agent) => run % DUE[agent] === 0);
}
