/** Continues a node's streams: gives each new batch its place in the chain. */
import { createHmac, randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import type { System } from '../host/system.ts';
import type { BatchEvent, Header, Kind } from '../spool/batch.ts';
import { stateDigest } from '../spool/canonical.ts';
import { seal, uuidv7 } from '../spool/encode.ts';
import { batchFile } from '../spool/names.ts';
import { digestInput } from './diff.ts';
import type { Identity } from './identity.ts';
import type { AgentState, Baseline, SpooledBatch } from './state.ts';

/** What every batch of a run says about the machine it comes from. */
export interface Origin {
  readonly identity: Identity;
  readonly host: string;
  readonly boot: string | undefined;
  readonly machine: string | undefined;
}

/** The machine id made unlinkable: what systemd's machine-id(5) asks of anything that leaves the machine. */
function blindMachineId(id: string): string {
  return createHmac('sha256', id).update('dsac-machine-v1').digest('hex').slice(0, 32);
}

/** The first line of a file, or undefined when it is empty or cannot be read: what it adds is no reason to stop an agent. */
async function firstLine(system: System, path: string): Promise<string | undefined> {
  const bytes = await system.read(path).catch(() => undefined);
  return bytes?.toString().split('\n')[0]?.trim() || undefined;
}

/** Reads what batches say of the machine: host name (unless `host` is configured), boot id, blinded machine id. */
export async function originOf(
  system: System,
  identity: Identity,
  host: string | undefined,
): Promise<Origin> {
  const machineId = await firstLine(system, '/etc/machine-id');
  const own = system.live ? hostname() : await firstLine(system, '/etc/hostname');
  return {
    identity,
    host: (host ?? own ?? 'localhost').slice(0, 255),
    boot: system.live ? await firstLine(system, '/proc/sys/kernel/random/boot_id') : undefined,
    machine: machineId === undefined ? undefined : blindMachineId(machineId),
  };
}

/** A name for a new life of an agent's state: when it began, to the second, and a random part. */
export function newEpoch(now: Date): string {
  return `${now.toISOString().slice(0, 19).replace(/\D/g, '')}-${randomBytes(3).toString('hex')}`;
}

/** What a new batch holds. `items` is the inventory after it, for snapshots and changes. */
export interface Content {
  readonly agent: string;
  readonly kind: Kind;
  readonly events: readonly BatchEvent[];
  readonly items?: Baseline;
}

/** Makes the next batch of a stream, and the state that stands behind it. `now` is the run's time. */
export function nextBatch(
  origin: Origin,
  state: AgentState,
  content: Content,
  now: Date,
): { batch: SpooledBatch; state: AgentState } {
  const { agent, kind, items } = content;
  const header: Omit<Header, 'dsac'> = {
    id: uuidv7(now.getTime()),
    node: origin.identity.node,
    host: origin.host,
    agent,
    kind,
    epoch: state.epoch,
    seq: state.seq + 1,
    prev: state.head,
    time: now.toISOString(),
    since: state.ran ?? undefined,
    boot: origin.boot,
    machine: origin.machine,
    state: items && { items: items.size, digest: stateDigest(digestInput(items)) },
    key: origin.identity.publicKey,
    succession: origin.identity.succession.length > 0 ? [...origin.identity.succession] : undefined,
  };
  const sealed = seal(header, content.events, origin.identity.key);
  return {
    batch: { name: batchFile(header as Header), bytes: sealed.bytes },
    state: { ...state, seq: header.seq, head: sealed.sha256 },
  };
}
