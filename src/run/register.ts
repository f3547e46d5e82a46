/** Shows and changes the register of expected nodes. */
import { DsacError, reasonOf } from '../errors.ts';
import { isPublicKey, type KnownNodes } from '../evidence/known-nodes.ts';
import { headerSchema } from '../spool/batch.ts';
import { streamStates } from '../store/completeness.ts';
import { addNode, type ExpectedNode, expectedNodes, retireNode } from '../store/register.ts';
import type { Store } from '../store/store.ts';
import { means } from './report.ts';

const DAY = 86_400_000;

/** A node as `dsac node ls` shows it. */
export interface ListedNode {
  readonly host: string;
  readonly node: string;
  /** By when its agents last ran, each by its own interval: `reporting`, `late`, `silent`, `never reported`; else `retired`, `retired, reporting again`. */
  readonly status: string;
  /** Agents that are late or silent. */
  readonly agents: readonly string[];
  /** `contact` or `added`. */
  readonly how: string;
  readonly since: string;
  readonly last_seen: string | null;
  /** The key that the centre knows it by (Ed25519, base64), and how it became known: `contact`, `pinned`, `rotated`, `revoked`; null when none is known. */
  readonly key: string | null;
  readonly key_how: string | null;
  readonly retired: string | null;
  readonly reason: string | null;
}

/** What the agents of each node that have not kept their times are called, by how badly. */
type Unpunctual = Readonly<Record<'silent' | 'late', readonly string[]>>;

async function unpunctualOf(store: Store, now: Date): Promise<Map<string, Unpunctual>> {
  const found = new Map<string, Unpunctual>();
  const question = { since: new Date(now.getTime() - DAY), until: now, now };
  for await (const streams of streamStates(store, question)) {
    const named = (finding: 'silent' | 'late'): string[] =>
      streams.flatMap(({ agent, findings }) => (agent !== null && findings.includes(finding) ? [agent] : []));
    if (streams[0]) found.set(streams[0].node, { silent: named('silent'), late: named('late') });
  }
  return found;
}

function statusOf({ retired, lastSeen }: ExpectedNode, unpunctual: Unpunctual | undefined): string {
  if (retired !== null)
    return lastSeen !== null && lastSeen > retired ? 'retired, reporting again' : 'retired';
  if (lastSeen === null) return 'never reported';
  if (unpunctual?.silent.length) return 'silent';
  return unpunctual?.late.length ? 'late' : 'reporting';
}

/** The nodes that globs mean, all when there are none, by host name. Throws a `usage` error for a glob that means none. */
export async function listNodes(
  store: Store,
  known: KnownNodes,
  globs: readonly string[],
  now: Date,
): Promise<ListedNode[]> {
  const nodes = await expectedNodes(store);
  const idle = globs.find((glob) => !nodes.some((node) => means(glob, node)));
  if (idle !== undefined) throw unknownNode(idle);
  const unpunctual = await unpunctualOf(store, now);
  return nodes
    .filter((node) => globs.length === 0 || globs.some((glob) => means(glob, node)))
    .map((node) => {
      const late = unpunctual.get(node.node);
      const agents = node.retired === null ? [...(late?.silent ?? []), ...(late?.late ?? [])] : [];
      const { host, node: id, how, since, lastSeen: last_seen, retired, reason } = node;
      const key = known.present(id) ?? known.of(id).at(-1);
      return {
        host,
        node: id,
        status: statusOf(node, late),
        agents,
        how,
        since,
        last_seen,
        key: key?.key ?? null,
        key_how: key?.how ?? null,
        retired,
        reason,
      };
    });
}

function unknownNode(name: string): DsacError {
  return new DsacError('usage', `'${name}' is no node of the register`, { hint: 'dsac node ls lists them' });
}

function wrong(what: string, text: string, expected: string): DsacError {
  return new DsacError('usage', `${what}: '${text}' is not ${expected}`);
}

export interface Addition {
  readonly host?: string | undefined;
  /** Ed25519 public key, base64. */
  readonly key?: string | undefined;
}

function checkAddition(node: string, { host, key }: Addition): void {
  const { shape } = headerSchema;
  if (!shape.node.safeParse(node).success) {
    throw new DsacError('usage', `'${node}' is not a node id: expected a UUID in lower case`, {
      hint: 'it is what etc/dsac/node.id holds on the node',
    });
  }
  const named = shape.host.optional().safeParse(host);
  if (!named.success) throw new DsacError('usage', `--host: ${reasonOf(named.error)}`);
  if (key !== undefined && !isPublicKey(key))
    throw wrong('--key', key, 'an Ed25519 public key in base64 (44 characters)');
}

/** Enters a node as expected, or takes back a retired one. Answers what was done, for people. Throws a `usage` error for a malformed id, host or key. */
export async function add(store: Store, node: string, addition: Addition, now: Date): Promise<string> {
  checkAddition(node, addition);
  const known = (await expectedNodes(store)).find((one) => one.node === node);
  const { host, key } = addition;
  await addNode(store, node, host, now);
  if (!known) return `added ${host ?? node}`;
  if (known.retired !== null) return `taken back ${known.host}`;
  return host === undefined && key === undefined
    ? `${known.host} is in the register already`
    : `changed ${known.host}`;
}

/** Takes a node, by id or host name, out of use from now on. Answers what was done. Throws a `usage` error for one that is not known, or not alone. */
export async function retire(
  store: Store,
  name: string,
  reason: string | undefined,
  now: Date,
): Promise<string> {
  const nodes = await expectedNodes(store);
  const byId = nodes.filter(({ node }) => node === name);
  const found = byId.length > 0 ? byId : nodes.filter(({ host }) => host === name);
  if (found.length > 1) {
    const ids = found.map(({ node }) => node).join(', ');
    throw new DsacError('usage', `${found.length} nodes are called '${name}': ${ids}`, {
      hint: 'name the one by its id',
    });
  }
  const [node] = found;
  if (!node) throw unknownNode(name);
  if (node.retired !== null) return `${node.host} has been retired since ${node.retired.slice(0, 10)}`;
  await retireNode(store, node.node, reason, now);
  return `retired ${node.host}`;
}
