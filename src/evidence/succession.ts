/** How one key of a node follows another: the old key signs for the new one, and batches carry the chain (docs/format.md §1). */
import { type KeyObject, sign, verify } from 'node:crypto';
import { type Header, MAX_SUCCESSION } from '../spool/batch.ts';
import { publicKeyFrom } from '../spool/signature.ts';

/** One change of key: the old public key (base64), and its signature over the new one. */
export type Link = NonNullable<Header['succession']>[number];

/** What an old key signs to hand over to a new one. */
function successionText(node: string, newKey: string): Buffer {
  return Buffer.from(`dsac-key-v1:${node}:${newKey}`, 'ascii');
}

/** The chain that leads to `newKey`, given the one that led to the old key. The oldest links go when it would be too long. */
export function extendSuccession(
  chain: readonly Link[],
  node: string,
  old: { readonly key: KeyObject; readonly publicKey: string },
  newKey: string,
): Link[] {
  const sig = sign(null, successionText(node, newKey), old.key).toString('base64');
  return [...chain, { key: old.publicKey, sig }].slice(-MAX_SUCCESSION);
}

function isProven(node: string, { key, sig }: Link, next: string): boolean {
  try {
    return verify(null, successionText(node, next), publicKeyFrom(key), Buffer.from(sig, 'base64'));
  } catch {
    return false;
  }
}

/** The keys, oldest first, that lead to `key` by signatures that hold; `key` itself is the last. */
export function provenKeys(node: string, key: string, chain: readonly Link[] = []): string[] {
  const keys = [key];
  for (const link of chain.toReversed()) {
    if (!isProven(node, link, keys[0]!)) break;
    keys.unshift(link.key);
  }
  return keys;
}
