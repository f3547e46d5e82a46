/** Whether batches are signed by the key that they name (docs/format.md §1). What a key is worth is not known here. */
import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import { reasonOf } from '../errors.ts';
import type { Batch, Header, Trailer } from './batch.ts';
import { signedText } from './encode.ts';

const publicKeys = new Map<string, KeyObject>();

/** The Ed25519 public key whose 32 raw bytes are `raw` (base64). Throws when they are not a key. */
export function publicKeyFrom(raw: string): KeyObject {
  let key = publicKeys.get(raw);
  if (!key) {
    key = createPublicKey({
      key: { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(raw, 'base64').toString('base64url') },
      format: 'jwk',
    });
    if (publicKeys.size > 10_000) publicKeys.clear();
    publicKeys.set(raw, key);
  }
  return key;
}

/** Signatures of batches that this process has verified, by the digest of the batch: one command may read a batch again. */
const verified = new Map<string, string>();
/** How many are remembered: enough for what is routed before it is delivered, some megabytes. */
const VERIFIED = 16_384;

/** Why what stands there cannot be a signature, or undefined when it may be one, or when there is none to check. */
export function unlikeSignature(header: Header, trailer: Trailer): string | undefined {
  if (trailer.sig === undefined)
    return header.key === undefined ? undefined : 'the header names a key but the trailer has no sig';
  if (header.key === undefined) return 'the trailer has a sig but the header names no key';
  // Base64 leaves bits unused at its end: another text for the same signature would be another batch with the same digest.
  if (Buffer.from(trailer.sig, 'base64').toString('base64') !== trailer.sig)
    return 'sig is not as base64 is written';
  return undefined;
}

/** Why the signature does not hold, or undefined when it does or there is none to check. */
export function badSignature(header: Header, trailer: Trailer): string | undefined {
  const unlike = unlikeSignature(header, trailer);
  if (unlike !== undefined || trailer.sig === undefined || header.key === undefined) return unlike;
  // The digest is of the bytes that name the key, so digest and signature say all that verifying depends on.
  if (verified.get(trailer.sha256) === trailer.sig) return undefined;
  try {
    const valid = verify(
      null,
      signedText(trailer.sha256),
      publicKeyFrom(header.key),
      Buffer.from(trailer.sig, 'base64'),
    );
    if (!valid) return 'sig does not verify under key';
    if (verified.size >= VERIFIED) verified.delete(verified.keys().next().value!);
    verified.set(trailer.sha256, trailer.sig);
    return undefined;
  } catch (error) {
    return `sig cannot be checked: ${reasonOf(error)}`;
  }
}

/**
 * Those of some batches that the key which they name has not signed, each with the reason. A signature vouches for the batch before it too, whose
 * digest it signs as `prev`: of a run of a stream only the last need be verified. What that leaves open is the text of the others'
 * own signatures, so whoever takes a batch for good verifies each (`decode`).
 */
export function badSignatures(batches: readonly Batch[]): Map<Batch, string> {
  const bad = new Map<Batch, string>();
  /** Digests that a signature vouches for, with the node and key that it is of. */
  const vouched = new Set<string>();
  for (const batch of batches.toReversed()) {
    const { header, trailer } = batch;
    if (!vouched.has(`${trailer.sha256} ${header.node} ${header.key}`)) {
      const reason = badSignature(header, trailer);
      if (reason !== undefined) {
        bad.set(batch, reason);
        continue;
      }
    }
    if (header.key !== undefined && header.prev !== null)
      vouched.add(`${header.prev} ${header.node} ${header.key}`);
  }
  return bad;
}
