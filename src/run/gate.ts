/**
 * The door of the centre: before any processor sees a batch, it is held against the keys of known nodes, and countersigned. What may go on, and
 * why not, is decided here alone (docs/security.md).
 */
import { join } from 'node:path';
import type { Paths } from '../config/paths.ts';
import type { Trust } from '../config/schema.ts';
import { HeadsLog } from '../evidence/heads.ts';
import { KnownNodes } from '../evidence/known-nodes.ts';
import { provenKeys } from '../evidence/succession.ts';
import type { Log } from '../log.ts';
import type { Batch, Header } from '../spool/batch.ts';
import type { Gate, Objection } from '../spool/route.ts';
import { loadIdentity } from './identity.ts';

/** How long batches signed by a retired key still pass, in ms: what was spooled before the change may be on its way. */
export const GRACE = 7 * 86_400_000;

/** Where the known keys are. */
export function trustFolder(paths: Paths): string {
  return join(paths.lib, 'trust');
}

/** Where the countersigned heads are. */
export function headsFolder(paths: Paths): string {
  return join(paths.lib, 'heads');
}

interface GateOptions {
  readonly paths: Paths;
  readonly trust: Trust;
  readonly log: Log;
  readonly clock: () => Date;
}

const forgery = (reason: string): Objection => ({ to: 'corrupt', reason });

function trustHint(node: string, key: string): string {
  return `dsac node trust ${node} ${key}`;
}

/** The gate of a centre's spool. The caller holds the lock of routing. Nothing is read before the first batch. */
export class CentralGate implements Gate {
  readonly #options: GateOptions;
  #known: KnownNodes | undefined;
  #heads: HeadsLog | undefined;

  constructor(options: GateOptions) {
    this.#options = options;
  }

  async objection({ header }: Batch): Promise<Objection | undefined> {
    this.#known ??= await KnownNodes.read(trustFolder(this.#options.paths));
    const known = this.#known;
    if (header.key === undefined) return this.#unsigned(header, known);
    if (known.of(header.node).length === 0) return this.#firstContact(header, header.key, known);
    return this.#ofKnownNode(header, header.key, known);
  }

  /** Remembers new keys and countersigns. Throws a `config` error where the centre has no key of its own. */
  async admit(heads: Parameters<Gate['admit']>[0]): Promise<void> {
    const { paths, clock, log } = this.#options;
    await this.#known?.save();
    if (heads.length === 0) return;
    this.#heads ??= new HeadsLog(headsFolder(paths), await loadIdentity(paths), (reason) =>
      log.error({ reason }, 'countersigned heads damaged'),
    );
    await this.#heads.add(heads, clock());
  }

  #unsigned({ node }: Header, known: KnownNodes): Objection {
    const key = known.present(node)?.key;
    if (key !== undefined)
      return forgery(`not signed, though node ${node} signs with key ${key}: anyone can have made it`);
    if (this.#options.trust === 'first-contact')
      return forgery(`not signed, and of a node that is not known (${node}): anyone can have made it`);
    return {
      to: 'hold',
      reason: `not signed, and node ${node} is not known: an unsigned batch is never let pass`,
    };
  }

  #firstContact(header: Header, key: string, known: KnownNodes): Objection | undefined {
    if (this.#options.trust === 'pinned')
      return {
        to: 'hold',
        reason: `node ${header.node} (${header.host}) is not known; it signs with key ${key}; if that is its key: ${trustHint(header.node, key)}`,
      };
    this.#learn(header, provenKeys(header.node, key, header.succession), 'contact', known);
    return undefined;
  }

  #ofKnownNode(header: Header, key: string, known: KnownNodes): Objection | undefined {
    const { node } = header;
    const standing = known.standing(node, key);
    if (standing.is === 'present') return undefined;
    if (standing.is === 'revoked') return forgery(`signed by key ${key}, which is revoked for node ${node}`);
    if (standing.is === 'retired') {
      if (this.#options.clock().getTime() - standing.since <= GRACE) return undefined;
      const since = new Date(standing.since).toISOString();
      const present = known.present(node)?.key ?? '';
      return forgery(
        `signed by key ${key}, which node ${node} gave up by ${since} for ${present}; if it was made before that: ${trustHint(node, key)}, release and process it, then ${trustHint(node, present)}`,
      );
    }
    const present = known.present(node);
    const chain = provenKeys(node, key, header.succession);
    const from = present === undefined ? -1 : chain.indexOf(present.key);
    if (from < 0) {
      const expected = present ? `${present.key} (${present.how} ${present.time})` : 'none: all are revoked';
      return forgery(
        `signed by another key than node ${node} has: known ${expected}, here ${key}; if the node was given a new key: ${trustHint(node, key)}; if not, someone else signs in its name`,
      );
    }
    const followers = chain.slice(from + 1);
    // Batches carry the links: who has a revoked key can show that the key before had signed for it.
    const revoked = followers.find((one) => known.standing(node, one).is === 'revoked');
    if (revoked !== undefined)
      return forgery(
        `signed by key ${key}, for which key ${revoked} signed, which is revoked for node ${node}; if the node was given a new key: ${trustHint(node, key)}`,
      );
    this.#learn(header, followers, 'rotated', known);
    return undefined;
  }

  /** Takes keys as known; the first as `how` says, each behind it as one that the key before signed for. */
  #learn(
    { node, host }: Header,
    keys: readonly string[],
    how: 'contact' | 'rotated',
    known: KnownNodes,
  ): void {
    const time = this.#options.clock().toISOString();
    for (const [index, key] of keys.entries()) {
      known.learn({ time, node, key, how: index === 0 ? how : 'rotated', host });
      this.#options.log.info({ node, host, key, how: index === 0 ? how : 'rotated' }, 'key of a node known');
    }
  }
}
