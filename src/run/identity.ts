/**
 * Who this node is: an id of its own, a signing key, and a secret for keyed digests; all in etc/dsac, made once by `dsac init`. Above the key its
 * file tells how it followed from the keys before, one `succession: KEY SIG` line a change, so that one rename changes both.
 */
import {
  createHmac,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  randomUUID,
} from 'node:crypto';
import { readFileSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import type { Paths } from '../config/paths.ts';
import { DsacError, isForbidden, isMissing, reasonOf } from '../errors.ts';
import type { Link } from '../evidence/succession.ts';
import { takeLock } from '../lock.ts';
import { create, realDisk, replace } from '../spool/disk.ts';

export interface Identity {
  /** UUID of the node. */
  readonly node: string;
  /** Ed25519 private key that signs batches. */
  readonly key: KeyObject;
  /** The raw public key, base64, as batch headers carry it. */
  readonly publicKey: string;
  /** How the key followed from those before it, oldest first; empty for a first key. */
  readonly succession: readonly Link[];
  /** Keyed digest of a secret (HMAC-SHA-256 under the node's own secret), 32 hex digits. */
  digest(secret: string): string;
}

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

interface Files {
  readonly id: string;
  readonly key: string;
  readonly secret: string;
}

function filesIn(paths: Paths): Files {
  return {
    id: join(paths.etc, 'node.id'),
    key: join(paths.etc, 'node.key'),
    secret: join(paths.etc, 'node.secret'),
  };
}

/** The files that hold the identity. */
export function identityFiles(paths: Paths): string[] {
  return Object.values(filesIn(paths));
}

/** The raw 32 bytes of an Ed25519 public key, base64. */
function rawPublicKey(key: KeyObject): string {
  const { x } = createPublicKey(key).export({ format: 'jwk' });
  return Buffer.from(x ?? '', 'base64url').toString('base64');
}

function pemOf(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/** Makes what is missing of the node's identity, never overwriting; answers the files that it made. */
export async function createIdentity(paths: Paths): Promise<string[]> {
  const files = filesIn(paths);
  const contents: [string, () => string, number][] = [
    [files.id, () => `${randomUUID()}\n`, 0o644],
    [files.key, () => pemOf(generateKeyPairSync('ed25519').privateKey), 0o600],
    [files.secret, () => `${randomBytes(32).toString('hex')}\n`, 0o600],
  ];
  const made: string[] = [];
  for (const [path, content, mode] of contents) {
    if (await create(realDisk, path, Buffer.from(content()), mode)) made.push(path);
  }
  await realDisk.sync(paths.etc);
  return made;
}

function readPart(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (isMissing(error)) {
      throw new DsacError('config', `cannot read ${path}: it is not there`, {
        hint: 'run dsac init first (with the same --home)',
      });
    }
    throw new DsacError(isForbidden(error) ? 'noperm' : 'config', `cannot read ${path}: ${reasonOf(error)}`, {
      cause: error,
      hint: 'run as the user that ran dsac init',
    });
  }
}

const LINK = /^succession: ([A-Za-z0-9+/=]{44}) ([A-Za-z0-9+/=]{88})$/gm;

type Signing = Pick<Identity, 'key' | 'publicKey' | 'succession'>;

/** What the text of a key file was last found to say: a run asks several times whether its key is still the same. */
let last: { readonly text: string; readonly signing: Signing } | undefined;

/** Reads a key file. Throws a `config` error. */
function readKey(path: string): Signing {
  let text = readPart(path);
  // Opened right before another command replaced and wiped it: the new file is there by now.
  if (!text.includes('BEGIN')) text = readPart(path);
  if (last?.text !== text) last = { text, signing: parseKey(text, path) };
  return last.signing;
}

function parseKey(text: string, path: string): Signing {
  let key: KeyObject;
  try {
    key = createPrivateKey(text.slice(Math.max(0, text.indexOf('-----BEGIN'))));
  } catch (error) {
    throw new DsacError('config', `${path}: not a private key in PEM`, { cause: error });
  }
  if (key.asymmetricKeyType !== 'ed25519')
    throw new DsacError('config', `${path}: expected an ed25519 key, found ${key.asymmetricKeyType}`);
  const succession = Array.from(text.matchAll(LINK), ([, old, sig]) => ({ key: old!, sig: sig! }));
  return { key, publicKey: rawPublicKey(key), succession };
}

/** Reads the node's identity. Throws `config` or `noperm` errors that say which file is wrong. */
export async function loadIdentity(paths: Paths): Promise<Identity> {
  const files = filesIn(paths);
  const node = readPart(files.id).trim();
  if (!UUID.test(node))
    throw new DsacError('config', `${files.id}: expected a UUID, found '${node.slice(0, 60)}'`);
  const signing = readKey(files.key);
  const secret = readPart(files.secret).trim();
  return {
    node,
    ...signing,
    digest: (text) => createHmac('sha256', secret).update(text).digest('hex').slice(0, 32),
  };
}

/** Overwrites what an open file holds: the name is another file's by now. */
async function wipe(file: FileHandle): Promise<void> {
  const { size } = await file.stat();
  await file.write(Buffer.alloc(size), 0, size, 0);
  await file.sync();
}

/**
 * Gives the node a new key, signed for by the old one, which is destroyed. A crash at any point leaves the old key or the new one in place, whole.
 * Answers both public keys and the file.
 */
export async function rotateKey(paths: Paths): Promise<{ file: string; old: string; key: string }> {
  // Where there is no key, nothing is made, least of all below a home that is mistyped.
  await loadIdentity(paths);
  using lock = takeLock(join(paths.lib, 'rotate.lock'));
  if (!lock) throw new DsacError('tempfail', 'another command is changing the key');
  const { extendSuccession } = await import('../evidence/succession.ts');
  const { node, ...old } = await loadIdentity(paths);
  const file = filesIn(paths).key;
  const { privateKey } = generateKeyPairSync('ed25519');
  const key = rawPublicKey(privateKey);
  const chain = extendSuccession(old.succession, node, old, key);
  const text = chain.map((link) => `succession: ${link.key} ${link.sig}\n`).join('') + pemOf(privateKey);
  const before = await open(file, 'r+');
  try {
    await replace(realDisk, file, Buffer.from(text), 0o600);
    await wipe(before);
  } finally {
    await before.close();
  }
  return { file, old: old.publicKey, key };
}
