/** Asks the store how complete the account of each node is, page by page. The rules are in completeness-rules.ts. */
import { type Digests, findDigests, gather } from './completeness-facts.ts';
import {
  type Finding,
  type Judged,
  neverReported,
  type Question,
  type StreamState,
  spanOf,
  statesOf,
} from './completeness-rules.ts';
import { type Completeness, NAMED, nameOf, noCounts } from './completeness-words.ts';
import { type ExpectedNode, expectedNodes } from './register.ts';
import { givesDigest } from './state.ts';
import type { Store } from './store.ts';
import { storedDate, toStored } from './times.ts';

/** Nodes per round of questions. */
const PAGE = 200;

function judgedOf({ node, host, retired: time, reason, lastSeen }: ExpectedNode, question: Question): Judged {
  const retired = time && toStored(time);
  const span = spanOf(question, retired);
  const seen = lastSeen && toStored(lastSeen);
  const returned =
    retired !== null &&
    seen !== null &&
    seen > retired &&
    seen >= span.since &&
    retired < storedDate(question.until);
  return { node, host, retired, retiredFor: reason, returned, span, question };
}

/** Nodes that a question is about: those asked for that were expected, or reported, before the end of its window. */
async function askedAbout(store: Store, { nodes, until }: Question): Promise<ExpectedNode[]> {
  const wanted = nodes && new Set(nodes);
  const end = until.toISOString();
  const expected = await expectedNodes(store);
  return expected.filter(
    ({ node, since, firstSeen }) =>
      (wanted === undefined || wanted.has(node)) && (since < end || (firstSeen !== null && firstSeen < end)),
  );
}

/** A node that was retired before the window began and about which there is nothing to say. */
function isPast({ retired, span }: Judged, streams: readonly StreamState[]): boolean {
  return retired !== null && retired <= span.since && streams.every(({ state }) => state === 'complete');
}

type Digesting = (store: Store, page: ReadonlyMap<string, Judged>) => Promise<Digests>;

async function* statesByNode(
  store: Store,
  question: Question,
  digesting: Digesting,
): AsyncGenerator<StreamState[]> {
  const nodes = await askedAbout(store, question);
  for (let at = 0; at < nodes.length; at += PAGE) {
    const page = nodes.slice(at, at + PAGE);
    const judged = new Map(page.map((node) => [node.node, judgedOf(node, question)]));
    const digests = await digesting(store, judged);
    const facts = await gather(store, judged, spanOf(question, null), digests);
    for (const one of judged.values()) {
      const agents = facts.get(one.node);
      const streams = agents?.flatMap((agent) => statesOf(one, agent)) ?? [neverReported(one)];
      if (!isPast(one, streams)) yield streams;
    }
  }
}

/** The state of every stream, node by node in the order of host names; all streams of a node come in one array. */
export function streamStates(store: Store, question: Question): AsyncGenerator<StreamState[]> {
  return statesByNode(store, question, findDigests);
}

/** A digest is no finding: those that differ are in `differed`. */
const noDigests: Digesting = async () => new Map();

/** Counts nodes by what was found of them, and names them. */
export async function completenessOf(store: Store, question: Question): Promise<Completeness> {
  const counts = noCounts();
  const named: Partial<Record<Finding, string[]>> = {};
  for await (const streams of statesByNode(store, question, noDigests)) {
    counts.nodes++;
    const findings = new Set(streams.flatMap((stream) => stream.findings));
    if (findings.size === 0) counts.complete++;
    for (const finding of findings) {
      counts[finding]++;
      named[finding] ??= [];
      if (named[finding].length < NAMED) named[finding].push(nameOf(finding, streams));
    }
  }
  return { counts, named };
}

/**
 * Whether the items that the store holds of an agent on a node are those that its newest inventory batch says there are: the proof that the
 * events account for the state. Null where it has no inventory.
 */
export async function digestAgrees(
  store: Pick<Store, 'db'>,
  node: string,
  agent: string,
  epoch: string,
): Promise<boolean | null> {
  const newest = await store.db
    .selectFrom('batches')
    .select('state_digest')
    .where('node', '=', node)
    .where('agent', '=', agent)
    .where('epoch', '=', epoch)
    .where('state_digest', 'is not', null)
    .orderBy('seq', 'desc')
    .limit(1)
    .executeTakeFirst();
  if (!newest) return null;
  const items = await store.db
    .selectFrom('items')
    .select(['item', 'fields_json'])
    .where('node', '=', node)
    .where('agent', '=', agent)
    .where('to_batch', 'is', null)
    .execute();
  return givesDigest(
    items.map(({ item, fields_json }) => [item, fields_json] as const),
    newest.state_digest!,
  );
}
