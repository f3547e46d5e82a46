/** Records of lines `X:value`, each record ended by an empty line: apk's database, and what dpkg-query and rpm are asked to print. */
import { text } from '../../host/text.ts';

/** The wanted values of one record by their one-letter tags. */
export type Tagged = ReadonlyMap<string, string>;

export interface TaggedFormat {
  /** What is read, for messages: `/lib/apk/db/installed`. */
  readonly name: string;
  /** The tags wanted, each at most once in a record: `PVA`; other lines are passed over. */
  readonly tags: string;
  /** Whether `line` goes on with the value of the line above it, which is `value` so far. Never, when left out. */
  readonly continues?: (value: string, line: string) => boolean;
}

/** The lines of a buffer without their LF; what stands behind the last LF is a line too. */
function* linesOf(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; ) {
    const stop = bytes.indexOf(0x0a, at);
    yield bytes.subarray(at, stop < 0 ? bytes.length : stop);
    at = stop < 0 ? bytes.length : stop + 1;
  }
}

/** The text's lines, each with its number and with the lines that go on with it. */
function* joinedLines(bytes: Buffer, continues: TaggedFormat['continues']): Generator<[number, string]> {
  let number = 0;
  let held: [number, string] | undefined;
  for (const lineBytes of linesOf(bytes)) {
    const line = text(lineBytes);
    number++;
    if (held !== undefined && held[1] !== '' && continues?.(held[1].slice(2), line)) held[1] += `\n${line}`;
    else {
      if (held !== undefined) yield held;
      held = [number, line];
    }
  }
  if (held !== undefined) yield held;
}

/** Yields every record. Throws, with the line's number, at what is no record and when the last one is not ended: then the text was cut. */
export function* taggedRecords(bytes: Buffer, format: TaggedFormat): Generator<Tagged> {
  let record = new Map<string, string>();
  let begun = 0;
  for (const [number, line] of joinedLines(bytes, format.continues)) {
    if (line === '') {
      if (begun > 0) yield record;
      record = new Map();
      begun = 0;
      continue;
    }
    begun ||= number;
    const tag = line[0]!;
    const where = `${format.name}: line ${number}`;
    if (line[1] !== ':') throw new Error(`${where}: expected X:value, found '${line.slice(0, 40)}'`);
    if (record.has(tag)) throw new Error(`${where}: a second ${tag}: in one record`);
    if (format.tags.includes(tag)) record.set(tag, line.slice(2));
  }
  if (begun > 0)
    throw new Error(`${format.name}: it was cut: the record that begins in line ${begun} has no end`);
}
