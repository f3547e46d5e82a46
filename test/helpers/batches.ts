/** Makes sealed batches of one stream, as a node would. */
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import type { Batch, BatchEvent, Header, Kind } from '../../src/spool/batch.ts';
import { canonical, stateDigest } from '../../src/spool/canonical.ts';
import { decode } from '../../src/spool/decode.ts';
import { seal, uuidv7 } from '../../src/spool/encode.ts';

/** A node that writes batches: call `next` to continue its stream of one agent. */
export class FakeNode {
  readonly node: string;
  readonly host: string;
  readonly key: KeyObject;
  readonly publicKey: string;
  readonly #heads = new Map<string, { seq: number; head: string | null }>();

  constructor(node = '6f1c5a9e-0f5e-4d0e-8a54-3c1c7d4a9b10', host = 'web1') {
    this.node = node;
    this.host = host;
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    this.key = privateKey;
    this.publicKey = Buffer.from(publicKey.export({ format: 'jwk' }).x ?? '', 'base64url').toString('base64');
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
