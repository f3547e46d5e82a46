/** Holds the items of an inventory, as the store has them, against the digest that the node gave. */
import { stateDigest } from '../spool/canonical.ts';

/** A lone surrogate in a key as the store writes it, see wellformed.ts. */
const ESCAPED = /\\ud[89a-f][0-9a-f]{2}/g;

/**
 * Whether items (keys and their fields as canonical JSON) give this state digest (docs/format.md §2). A key with a lone surrogate was
 * hashed as UTF-8 writes it, with U+FFFD in its place.
 */
export function givesDigest(
  items: readonly (readonly [key: string, fields: string])[],
  digest: string,
): boolean {
  if (stateDigest(items) === digest) return true;
  if (!items.some(([key]) => key.search(ESCAPED) >= 0)) return false;
  return (
    stateDigest(items.map(([key, fields]) => [key.replace(ESCAPED, '\ufffd'), fields] as const)) === digest
  );
}
