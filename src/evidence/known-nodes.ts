/**
 * The keys that a centre knows its nodes by: a text file that a person can read and edit (docs/security.md), a line each:
 *
 *     2026-11-25T10:00:00.000Z 6f1c5a9e-… rBTE9eTp…= contact # web1
 *
 * `contact`: trusted when it was first heard; `pinned`: by a person; `rotated`: the key before signed for it; `revoked`: not trusted any more. The
 * last line of a node that is not `revoked` is its key now; those above it are retired.
 */
import { join } from 'node:path';
import { DsacError, reasonOf } from '../errors.ts';
import { takeLock } from '../lock.ts';
import { timeSchema, uuidSchema } from '../spool/batch.ts';
import { readIfThere, realDisk } from '../spool/disk.ts';
import { publicKeyFrom } from '../spool/signature.ts';
import { appendDurably, cutAfter } from './append.ts';

const WAYS = ['contact', 'pinned', 'rotated', 'revoked'] as const;
/** How long to wait for another command that writes the file, in ms. */
const WAIT = 10_000;
const HEADING =
  '# The keys that this centre knows: time, node, public key, how (contact, pinned, rotated, revoked), # host\n';

export interface KnownKey {
  readonly time: string;
  readonly node: string;
  /** The raw public key, base64. */
  readonly key: string;
  readonly how: (typeof WAYS)[number];
  /** The node's host name at that time, for people. */
  readonly host?: string | undefined;
}

/** Whether text is a raw Ed25519 public key in base64. */
export function isPublicKey(text: string): boolean {
  try {
    return (
      Buffer.from(text, 'base64').length === 32 && text.length === 44 && publicKeyFrom(text) !== undefined
    );
  } catch {
    return false;
  }
}

/** One line of the file; throws with the reason when it is none. Undefined for an empty line or a comment. */
function parseKnown(line: string): KnownKey | undefined {
  const [fact, comment] = line.split(/\s*#\s*/, 2);
  const words = fact!.trim().split(/\s+/);
  if (words.length === 1 && words[0] === '') return undefined;
  const [time, node, key, how] = words;
  if (words.length !== 4) throw new Error(`expected time, node, key and how, found ${words.length} words`);
  if (!timeSchema.safeParse(time).success) throw new Error(`'${time}' is not a UTC time with milliseconds`);
  if (!uuidSchema.safeParse(node).success) throw new Error(`'${node}' is not a node id`);
  if (!isPublicKey(key!)) throw new Error(`'${key}' is not a public key (44 characters of base64)`);
  const way = WAYS.find((one) => one === how);
  if (way === undefined) throw new Error(`'${how}' is none of ${WAYS.join(', ')}`);
  return { time: time!, node: node!, key: key!, how: way, ...(comment ? { host: comment } : {}) };
}

function lineOf({ time, node, key, how, host }: KnownKey): string {
  const comment = host === undefined ? '' : ` # ${host.replace(/[^\x21-\x7e]|#/g, '?')}`;
  return `${time} ${node} ${key} ${how}${comment}\n`;
}

/** Where a key of a node stands. `since`: when it was retired, in ms. */
export type Standing =
  | { readonly is: 'present' | 'revoked' | 'unknown' }
  | { readonly is: 'retired'; readonly since: number };

/** The known keys, read once; what is learned is kept in memory until `save`. */
export class KnownNodes {
  readonly path: string;
  /** What told the file apart when it was read, or written to from here. */
  #mark = '';
  readonly #keys = new Map<string, KnownKey[]>();
  #learned: KnownKey[] = [];

  private constructor(path: string) {
    this.path = path;
  }

  /** Reads `known_nodes` in a folder; nothing is known when it is not there. Throws a `config` error that names file and line. */
  static async read(folder: string): Promise<KnownNodes> {
    const known = new KnownNodes(join(folder, 'known_nodes'));
    known.#mark = await markOf(known.path);
    const text = (await readIfThere(realDisk, known.path))?.toString() ?? '';
    const lines = text.split('\n');
    for (const [index, line] of lines.entries()) {
      // What a crash left of the last line was never relied on.
      const torn = index === lines.length - 1;
      try {
        const key = parseKnown(line);
        if (key) known.#hold(key);
      } catch (error) {
        if (torn) continue;
        throw new DsacError('config', `${known.path}:${index + 1}: ${reasonOf(error)}`, {
          hint: 'correct the line or take it out; each is: time node key how # host',
        });
      }
    }
    return known;
  }

  #hold(key: KnownKey): void {
    const keys = this.#keys.get(key.node);
    if (keys) keys.push(key);
    else this.#keys.set(key.node, [key]);
  }

  /** What is known of a node, oldest first; empty when the node is unknown. */
  of(node: string): readonly KnownKey[] {
    return this.#keys.get(node) ?? [];
  }

  /** The key that a node has now; undefined when it is unknown or all of its keys are revoked. */
  present(node: string): KnownKey | undefined {
    const keys = this.of(node);
    const isRevoked = ({ key }: KnownKey): boolean =>
      keys.findLast((one) => one.key === key)?.how === 'revoked';
    return keys.findLast((one) => one.how !== 'revoked' && !isRevoked(one));
  }

  /** Where a key stands with a node. */
  standing(node: string, key: string): Standing {
    const keys = this.of(node);
    const last = keys.findLastIndex((one) => one.key === key);
    if (last < 0) return { is: 'unknown' };
    if (keys[last]!.how === 'revoked') return { is: 'revoked' };
    const next = keys.slice(last + 1).find(({ how }) => how !== 'revoked');
    if (next === undefined || this.present(node)?.key === key) return { is: 'present' };
    return { is: 'retired', since: Date.parse(next.time) };
  }

  /** The lines of keys that stand revoked. */
  revoked(): KnownKey[] {
    return [...this.#keys.values()].flatMap((keys) =>
      keys.filter((one) => one.how === 'revoked' && keys.findLast(({ key }) => key === one.key) === one),
    );
  }

  /** Whether nothing is known at all. */
  get isEmpty(): boolean {
    return this.#keys.size === 0;
  }

  /** Takes a key as known from here on; it is in the file once `save` resolves. */
  learn(key: KnownKey): void {
    this.#hold(key);
    this.#learned.push(key);
  }

  /**
   * Writes what was learned to the end of the file, durably. Throws `tempfail` where someone has changed the file since it was read: what was learned may not
   * hold by what it says now, and a line at the end would count for more than theirs.
   */
  async save(): Promise<void> {
    if (this.#learned.length === 0) return;
    this.#mark = await appendKnown(this.path, this.#learned, this.#mark);
    this.#learned = [];
  }
}

async function markOf(path: string): Promise<string> {
  const found = await realDisk.stat(path);
  return found ? `${found.inode}/${found.size}/${found.mtimeMs}` : 'none';
}

/** Writes lines to the end of the file, durably, where it still has the mark `since`; answers the one that it has then. Left out: whatever it has. */
export async function appendKnown(path: string, keys: readonly KnownKey[], since?: string): Promise<string> {
  const folder = join(path, '..');
  await realDisk.mkdir(folder);
  using lock = takeLock(join(folder, 'lock'), WAIT);
  if (!lock)
    throw new DsacError('tempfail', `${path}: another command has been writing it for ${WAIT / 1000} s`);
  if (since !== undefined && since !== (await markOf(path)))
    throw new DsacError('tempfail', `${path}: it was changed while batches were held against it`);
  const text = (await readIfThere(realDisk, path))?.toString();
  const start = text === undefined || text === '' ? HEADING : await mended(path, text);
  await appendDurably(path, Buffer.from(start + keys.map(lineOf).join('')));
  return markOf(path);
}

/** Makes the end of the file fit to be appended to: a torn line goes, a whole one that lacks its LF gets it. */
async function mended(path: string, text: string): Promise<string> {
  if (text.endsWith('\n')) return '';
  const start = text.lastIndexOf('\n') + 1;
  try {
    parseKnown(text.slice(start));
    return '\n';
  } catch {
    await cutAfter(path, Buffer.byteLength(text.slice(0, start)));
    return '';
  }
}
