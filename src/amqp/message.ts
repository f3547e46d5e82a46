/** A batch as an AMQP message, and back (docs/format.md §5). */
import { constants, zstdCompressSync } from 'node:zlib';
import type { Message, Options } from 'amqplib';
import { reasonOf } from '../errors.ts';
import type { Batch, Header } from '../spool/batch.ts';
import { damageReason, decode, type Signatures } from '../spool/decode.ts';
import { unfold } from '../spool/unfold.ts';

export const MESSAGE_TYPE = 'dsac.batch.v1';
/** Bodies up to this size are not worth compressing, in bytes. */
const COMPRESS_ABOVE = 4096;

/** Level 1 makes event lines as small as the default does, in half the time. */
const LEVEL = { [constants.ZSTD_c_compressionLevel]: 1 };

/** Compresses in place: a thread of libuv's takes several times as long, as each body has memory of its own mapped there, and the longest takes a moment. */
function compress(bytes: Buffer): Buffer {
  return zstdCompressSync(bytes, { params: LEVEL, pledgedSrcSize: bytes.length });
}

/** A message ready to be published. */
export interface Outgoing {
  readonly routingKey: string;
  readonly body: Buffer;
  readonly properties: Options.Publish & { readonly messageId: string };
}

/** What a message turned out to hold: batches, and bytes that are none with the reason. */
export interface Unpacked {
  readonly batches: readonly Batch[];
  /** How many bytes it unfolded to: who keeps one of its batches keeps all of them in memory. */
  readonly size: number;
  readonly damages: readonly {
    readonly bytes: Buffer;
    readonly compressed: boolean;
    readonly reason: string;
  }[];
}

/** `dsac.<agent>.<node>`: what consumers bind to. */
export function routingKey(header: Pick<Header, 'agent' | 'node'>): string {
  return `dsac.${header.agent}.${header.node}`;
}

/** Packs a batch: its bytes unchanged, or inside zstd where that is smaller. */
export function pack({ header, bytes }: Batch): Outgoing {
  const folded = bytes.length > COMPRESS_ABOVE ? compress(bytes) : bytes;
  const smaller = folded.length < bytes.length;
  return {
    routingKey: routingKey(header),
    body: smaller ? folded : bytes,
    properties: {
      messageId: header.id,
      type: MESSAGE_TYPE,
      contentType: 'application/jsonl',
      ...(smaller ? { contentEncoding: 'zstd' } : {}),
      persistent: true,
      mandatory: true,
      timestamp: Math.floor(Date.parse(header.time) / 1000),
      appId: 'dsac',
    },
  };
}

/** Unpacks what may be anything at all: never throws for what a message holds. */
export async function unpack(
  { content, properties }: Pick<Message, 'content' | 'properties'>,
  signatures: Signatures = 'verified',
): Promise<Unpacked> {
  const { type, contentEncoding } = properties;
  const compressed = contentEncoding === 'zstd';
  const refuse = (reason: string): Unpacked => ({
    batches: [],
    size: content.length,
    damages: [{ bytes: content, compressed, reason }],
  });
  if (type !== MESSAGE_TYPE) return refuse(`type: expected ${MESSAGE_TYPE}, the message has ${shown(type)}`);
  if (contentEncoding !== undefined && !compressed)
    return refuse(`content-encoding: expected none or zstd, the message has ${shown(contentEncoding)}`);
  let bytes = content;
  try {
    if (compressed) bytes = await unfold(content);
  } catch (error) {
    return refuse(`not readable zstd: ${reasonOf(error)}`);
  }
  const decoded = [...decode(bytes, signatures)];
  const batches = decoded.flatMap(({ batch }) => batch ?? []);
  const size = bytes.length;
  const reason = damageReason(decoded);
  const bad = decoded.flatMap(({ damage }) => damage ?? []);
  // Kept as it came: a few bytes can unfold to very many, and one message can be damaged in more places than there is room for files.
  if (reason !== undefined && (compressed || bad.length > 1))
    return { batches, size, damages: [{ bytes: content, compressed, reason }] };
  return { batches, size, damages: bad.map((damage) => ({ ...damage, compressed })) };
}

/** A property that anyone may have set, short and quoted; what is no text is only named, as it may throw when it is made one. */
function shown(property: unknown): string {
  if (property === undefined) return 'none';
  return typeof property === 'string'
    ? JSON.stringify(property.slice(0, 60))
    : `no text (${typeof property})`;
}
