/** The lines of a log that is followed (follow.ts): complete ones, each with the cursor behind it. */
import type { System } from '../host/system.ts';
import {
  type Chunk,
  type FollowCursor,
  type FollowOptions,
  followBytes,
  type Lost,
  type Noted,
} from './follow.ts';

/** Longest line that is held; a longer one is passed over, and said to be lost. */
const MAX_LINE = 16 * 1024 * 1024;
const LF = 0x0a;

/** One line without its LF. */
interface Line {
  readonly line: Buffer;
  /** Path of the file that it is in. */
  readonly path: string;
  /** Stands behind the line. */
  readonly cursor: FollowCursor;
}

/** Collects chunks into lines. */
class LineCutter {
  #parts: Buffer[] = [];
  #length = 0;
  #last: Chunk | undefined;

  /** What a file ended with and no LF closed: a line, once a newer file has begun. */
  *flush(): Generator<Line | Lost> {
    const last = this.#last;
    if (last !== undefined && this.#length > 0) yield this.#line(last, last.offset + last.bytes.length);
    this.#last = undefined;
  }

  *cut(chunk: Chunk): Generator<Line | Lost> {
    if (this.#last !== undefined && this.#last.file !== chunk.file) yield* this.flush();
    this.#last = chunk;
    let at = 0;
    for (let stop = chunk.bytes.indexOf(LF); stop >= 0; stop = chunk.bytes.indexOf(LF, at)) {
      this.#hold(chunk.bytes.subarray(at, stop));
      at = stop + 1;
      yield this.#line(chunk, chunk.offset + at);
    }
    this.#hold(chunk.bytes.subarray(at));
  }

  drop(): void {
    this.#parts = [];
    this.#length = 0;
    this.#last = undefined;
  }

  #hold(bytes: Buffer): void {
    this.#length += bytes.length;
    if (this.#length > MAX_LINE) this.#parts = [];
    else if (bytes.length > 0) this.#parts.push(bytes);
  }

  #line(chunk: Chunk, end: number): Line | Lost {
    const line = this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts);
    const length = this.#length;
    const path = chunk.file.path;
    this.#parts = [];
    this.#length = 0;
    if (length > MAX_LINE) {
      const lost = `${path}: passed over a line of ${length} bytes, more than ${MAX_LINE}`;
      return { lost, cursor: chunk.cursorAt(end), reread: false, again: false };
    }
    return {
      line,
      path,
      get cursor() {
        return chunk.cursorAt(end);
      },
    };
  }
}

/**
 * Yields the complete lines of a log behind `cursor`, and each loss where it shows. A last line without LF is left for the next run, until a newer
 * file has begun. `cursor` of a line is computed when it is read: take it where it will be stored.
 */
export async function* followLines(
  system: System,
  path: string,
  cursor: unknown,
  options: FollowOptions = {},
): AsyncGenerator<Line | Lost | Noted> {
  const cutter = new LineCutter();
  for await (const step of followBytes(system, path, cursor, options)) {
    if ('lost' in step) {
      cutter.drop();
      yield step;
    } else if ('noted' in step) yield step;
    else yield* cutter.cut(step);
  }
}
