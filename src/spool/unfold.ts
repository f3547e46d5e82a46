/** Unfolds what is compressed (docs/format.md §3): whole, within bounds, or not at all. */
import { type ZstdOptions, zstdDecompressSync } from 'node:zlib';
import { errorCode } from '../errors.ts';
import { MAX_FRAMES, MAX_UNFOLDED } from './limits.ts';

/** What zlib answers with `info`, which its types leave out: the bytes, and how much of the input they came from. */
interface Unfolded {
  readonly buffer: Buffer;
  readonly engine: { readonly bytesWritten: number };
}

// In place: handing each frame's chunks to a thread of libuv's and back takes longer than unfolding them.
const zstd = zstdDecompressSync as (bytes: Uint8Array, options: ZstdOptions) => unknown;
/** What is unfolded at a time, in bytes: most batches at once, in memory that is not much more than they need, as what is unfolded keeps all of it. */
const [SHORTEST_CHUNK, LONGEST_CHUNK] = [16 * 1024, 128 * 1024];
const EXPECTED_RATIO = 6;

function chunkFor(length: number): number {
  return Math.min(LONGEST_CHUNK, Math.max(SHORTEST_CHUNK, length * EXPECTED_RATIO));
}

/** The frame that `bytes` begin with, of at most `room` bytes unfolded. */
function unfoldFrame(bytes: Uint8Array, room: number): Unfolded {
  try {
    return zstd(bytes, {
      maxOutputLength: Math.max(1, room),
      chunkSize: chunkFor(bytes.length),
      info: true,
    }) as Unfolded;
  } catch (error) {
    if (errorCode(error) !== 'ERR_BUFFER_TOO_LARGE') throw error;
    throw new Error(`unfolds to more than ${MAX_UNFOLDED} bytes`);
  }
}

/**
 * The bytes inside Zstandard frames, one or more (RFC 8878 §3.1); zlib reads one at a time. Rejects when they are damaged, when something else is
 * between or behind them, and when they unfold to more than the format allows.
 */
export async function unfold(bytes: Uint8Array): Promise<Buffer> {
  const parts: Buffer[] = [];
  let room = MAX_UNFOLDED;
  let at = 0;
  for (let frames = 0; at < bytes.length || frames === 0; frames++) {
    if (frames >= MAX_FRAMES) throw new Error(`more than ${MAX_FRAMES} frames`);
    const { buffer, engine } = unfoldFrame(bytes.subarray(at), room);
    if (engine.bytesWritten === 0) throw new Error(`no frame at byte ${at}`);
    room -= buffer.length;
    if (room < 0) throw new Error(`unfolds to more than ${MAX_UNFOLDED} bytes`);
    if (buffer.length > 0) parts.push(buffer);
    at += engine.bytesWritten;
  }
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
}
