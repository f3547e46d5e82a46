import { createHash } from 'node:crypto';
import type { Fields } from './batch.ts';

/** Canonical JSON (docs/format.md §2): keys sorted, no white space. Equal values give equal text. */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (value !== null && typeof value === 'object') {
    const members = Object.entries(value)
      .filter(([, member]) => member !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, member]) => `${JSON.stringify(key)}:${canonical(member)}`);
    return `{${members.join(',')}}`;
  }
  return JSON.stringify(value);
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
