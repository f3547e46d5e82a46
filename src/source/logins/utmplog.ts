/** Follows a file of utmp records (wtmp, btmp) and its rotated copies: bytes to parts, with a cursor behind each stretch. */
import * as z from 'zod';
import type { System } from '../../host/system.ts';
import { type Chunk, type FollowOptions, followBytes, followCursorSchema } from '../follow.ts';
import {
  decodeUtmp,
  detectLayout,
  LAYOUTS,
  type Layout,
  lookAhead,
  nativeLayout,
  type UtmpPart,
} from './utmp.ts';

export const utmpCursorSchema = z.strictObject({
  at: followCursorSchema,
  layout: z.enum(LAYOUTS).describe('layout of the records of that file'),
});

/** Where a reader stands: in which file, and what layout it has. */
export type UtmpCursor = z.infer<typeof utmpCursorSchema>;

export type UtmpStep =
  /** A record or damage; `offset` is its place in the file. */
  | { readonly part: UtmpPart; readonly offset: number }
  /** Too few bytes for a record, at the end of a file that will not grow. */
  | { readonly torn: number; readonly offset: number }
  /** What was there is gone, in words for people. */
  | { readonly lost: string; readonly cursor: UtmpCursor; readonly again: boolean }
  /** All before this point is done with. */
  | { readonly cursor: UtmpCursor };

/** What is left of one file: bytes not yet decoded, and the chunks that they came in. */
class OpenFile {
  readonly #chunks: Chunk[] = [];
  #rest: Buffer = Buffer.alloc(0);
  #restAt: number;
  #layout: Layout | undefined;
  readonly #hint: Layout;

  constructor(first: Chunk, known: Layout | undefined, hint: Layout) {
    this.#restAt = first.offset;
    this.#layout = first.offset > 0 ? known : undefined;
    this.#hint = known ?? hint;
  }

  get file(): Chunk['file'] | undefined {
    return this.#chunks.at(-1)?.file;
  }

  get layout(): Layout {
    return this.#layout ?? this.#hint;
  }

  add(chunk: Chunk): void {
    this.#chunks.push(chunk);
    this.#rest = this.#rest.length === 0 ? chunk.bytes : Buffer.concat([this.#rest, chunk.bytes]);
  }

  /** Decodes what can be judged by now; all of it when no more bytes come. */
  *decode(atEnd: boolean): Generator<UtmpStep> {
    if (this.#layout === undefined && (atEnd || this.#rest.length >= lookAhead('400le')))
      this.#layout = detectLayout(this.#rest, this.#hint);
    if (this.#layout === undefined) return;
    const until = atEnd ? this.#rest.length : this.#rest.length - lookAhead(this.#layout);
    let done = 0;
    for (const part of decodeUtmp(this.#rest, this.#layout, until)) {
      yield { part, offset: this.#restAt + part.offset };
      done = part.offset + part.length;
    }
    if (done === 0) return;
    this.#rest = this.#rest.subarray(done);
    this.#restAt += done;
    while (this.#chunks.length > 1 && this.#chunks[1]!.offset <= this.#restAt) this.#chunks.shift();
    yield { cursor: { at: this.#chunks[0]!.cursorAt(this.#restAt), layout: this.#layout } };
  }

  /** The last bytes of a file that a newer one has followed. */
  *close(): Generator<UtmpStep> {
    yield* this.decode(true);
    if (this.#rest.length === 0) return;
    yield { torn: this.#rest.length, offset: this.#restAt };
    const last = this.#chunks.at(-1)!;
    yield { cursor: { at: last.cursorAt(last.offset + last.bytes.length), layout: this.layout } };
  }
}

/**
 * Yields what a file of records holds behind `cursor`, rotated copies first. A last record that is not whole is left for the next run, until a newer
 * file has begun.
 */
export async function* followUtmp(
  system: System,
  path: string,
  cursor: UtmpCursor | undefined,
  options: FollowOptions,
): AsyncGenerator<UtmpStep> {
  const hint = system.live ? nativeLayout() : '384le';
  let known = cursor?.layout;
  let open: OpenFile | undefined;
  for await (const step of followBytes(system, path, cursor?.at, options)) {
    if ('lost' in step) {
      if (open !== undefined) yield* open.close();
      open = undefined;
      const { lost, again } = step;
      yield { lost, again, cursor: { at: step.cursor, layout: known ?? hint } };
      continue;
    }
    if ('noted' in step) {
      yield { cursor: { at: step.cursor, layout: known ?? hint } };
      continue;
    }
    if (open !== undefined && open.file !== step.file) {
      yield* open.close();
      open = undefined;
    }
    open ??= new OpenFile(step, known, hint);
    open.add(step);
    known = open.layout;
    yield* open.decode(false);
  }
  if (open !== undefined) yield* open.decode(true);
}
