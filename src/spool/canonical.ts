import { createHash } from 'node:crypto';
import type { Fields } from './batch.ts';

/** More keys than this are sorted by the engine: for few, what that costs to begin is most of it. */
const FEW = 16;

/** The object's keys in order of their UTF-16 units. */
function keysInOrder(value: object): string[] {
  const keys = Object.keys(value);
  if (keys.length > FEW) return keys.sort();
  for (let i = 1; i < keys.length; i++) {
    const key = keys[i]!;
    let to = i;
    for (; to > 0 && keys[to - 1]! > key; to--) keys[to] = keys[to - 1]!;
    keys[to] = key;
  }
  return keys;
}

/** Canonical JSON (docs/format.md §2): keys sorted, no white space. Equal values give equal text. */
export function canonical(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  let members = '';
  for (const key of keysInOrder(value)) {
    const member = (value as Record<string, unknown>)[key];
    if (member === undefined) continue;
    members += `${members === '' ? '' : ','}${JSON.stringify(key)}:${canonical(member)}`;
  }
  return `{${members}}`;
}

/** The line that stands for one item in the state digest, given its fields as canonical JSON. */
function digestLine(key: string, fields: string): Buffer {
  return Buffer.from(`${key}\t${fields}\n`);
}

/**
 * The state digest (docs/format.md §2) of an inventory.
 * `items` maps each key to its fields as canonical JSON text; returns 64 hex digits.
 */
export function stateDigest(items: Iterable<readonly [key: string, fields: string]>): string {
  const lines = Array.from(items, ([key, fields]) => digestLine(key, fields)).sort(Buffer.compare);
  const hash = createHash('sha256');
  for (const line of lines) hash.update(line);
  return hash.digest('hex');
}

/** Whether two sets of fields are the same value, whatever the order of their keys. */
export function sameFields(a: Fields, b: Fields): boolean {
  return canonical(a) === canonical(b);
}
