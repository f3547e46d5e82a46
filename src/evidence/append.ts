/** Files that only grow: a line at the end, durable when the call resolves, and what a crash left of one cut off. */
import { open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { isMissing } from '../errors.ts';
import { realDisk } from '../spool/disk.ts';

const LF = 0x0a;
const CHUNK = 64 * 1024;

/** Appends bytes to a file and fsyncs it; a file that was not there is made, its name durable too. */
export async function appendDurably(path: string, bytes: Uint8Array): Promise<void> {
  const file = await open(path, 'a', 0o640);
  try {
    const isNew = (await file.stat()).size === 0;
    await file.writeFile(bytes);
    await file.sync();
    if (isNew) await realDisk.sync(dirname(path));
  } finally {
    await file.close();
  }
}

/** The last whole line of a file, without its LF, and where it ends; `size` tells whether anything lies behind it. */
export interface LastLine {
  readonly line: Buffer | undefined;
  /** Bytes up to and with the line's LF; 0 when there is no whole line. */
  readonly end: number;
  readonly size: number;
}

/** Reads a file from its end until it has the last whole line. A file that is not there has none. */
export async function lastLine(path: string): Promise<LastLine> {
  let file: Awaited<ReturnType<typeof open>>;
  try {
    file = await open(path, 'r');
  } catch (error) {
    if (isMissing(error)) return { line: undefined, end: 0, size: 0 };
    throw error;
  }
  try {
    const { size } = await file.stat();
    let tail: Buffer = Buffer.alloc(0);
    for (let at = size; ; ) {
      const last = tail.lastIndexOf(LF);
      const before = last > 0 ? tail.lastIndexOf(LF, last - 1) : -1;
      if (last >= 0 && (before >= 0 || at === 0))
        return { line: tail.subarray(before + 1, last), end: at + last + 1, size };
      if (at === 0) return { line: undefined, end: 0, size };
      const piece = Buffer.alloc(Math.min(CHUNK, at));
      at -= piece.length;
      const { bytesRead } = await file.read(piece, 0, piece.length, at);
      tail = Buffer.concat([piece.subarray(0, bytesRead), tail]);
    }
  } finally {
    await file.close();
  }
}

/** Cuts a file after `size` bytes, durably. */
export async function cutAfter(path: string, size: number): Promise<void> {
  const file = await open(path, 'r+');
  try {
    await file.truncate(size);
    await file.sync();
  } finally {
    await file.close();
  }
}
