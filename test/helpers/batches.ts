/** Makes sealed batches of one stream, as a node would. */
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { extendSuccession, type Link } from '../../src/evidence/succession.ts';
import type { Batch, BatchEvent, Header, Kind } from '../../src/spool/batch.ts';
import { canonical, stateDigest } from '../../src/spool/canonical.ts';
import { decode } from '../../src/spool/decode.ts';
import { seal, uuidv7 } from '../../src/spool/encode.ts';

function newKey(): [key: KeyObject, publicKey: string] {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  return [
    privateKey,
    Buffer.from(publicKey.export({ format: 'jwk' }).x ?? '', 'base64url').toString('base64'),
  ];
}

/** A node that writes batches: call `next` to continue its stream of one agent. */
export class FakeNode {
  readonly node: string;
  readonly host: string;
  key: KeyObject;
  publicKey: string;
  /** How the key followed from those before it. */
  succession: Link[] = [];
  readonly #heads = new Map<string, { seq: number; head: string | null }>();

  constructor(node = '6f1c5a9e-0f5e-4d0e-8a54-3c1c7d4a9b10', host = 'web1') {
    this.node = node;
    this.host = host;
    [this.key, this.publicKey] = newKey();
  }

  /** Gives the node a new key, signed for by the old one. */
  rotate(): void {
    const [key, publicKey] = newKey();
    this.succession = extendSuccession(this.succession, this.node, this, publicKey);
    [this.key, this.publicKey] = [key, publicKey];
  }

  /** The next batch of `agent`'s stream. `header` overrides any header field. */
  next(agent: string, kind: Kind, events: BatchEvent[], header: Partial<Header> = {}): Batch {
    const epoch = header.epoch ?? '20261101000000-aaaaaa';
    const stream = `${agent}/${epoch}`;
    const { seq, head } = this.#heads.get(stream) ?? { seq: 0, head: null };
    const time = header.time ?? '2026-11-23T02:00:00.000Z';
    const inventory = kind === 'snapshot' || kind === 'changes';
    const items = events.flatMap(({ item, after }) =>
      item && after ? [[item, canonical(after)] as const] : [],
    );
    const sealed = seal(
      {
        id: uuidv7(Date.parse(time)),
        node: this.node,
        host: this.host,
        agent,
        kind,
        epoch,
        seq: seq + 1,
        prev: head,
        time,
        key: this.publicKey,
        ...(this.succession.length > 0 ? { succession: this.succession } : {}),
        ...(inventory ? { state: { items: items.length, digest: stateDigest(items) } } : {}),
        ...header,
      },
      events,
      this.key,
    );
    this.#heads.set(stream, { seq: seq + 1, head: sealed.sha256 });
    return [...decode(sealed.bytes)][0]!.batch!;
  }
}

/** A log event with nothing special about it. */
export function plainEvent(n = 1): BatchEvent {
  return { time: '2026-11-23T01:00:00.000Z', action: 'happened', item: `thing/${n}`, data: { n } };
}
