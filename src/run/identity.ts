/** Who this node is: an id of its own, a signing key, and a secret for keyed digests; all in etc/dsac, made once by `dsac init`. */
import {
  createHmac,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  randomUUID,
} from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Paths } from '../config/paths.ts';
import { DsacError, isMissing, reasonOf } from '../errors.ts';
import { create, realDisk } from '../spool/disk.ts';

export interface Identity {
  /** UUID of the node. */
  readonly node: string;
  /** Ed25519 private key that signs batches. */
  readonly key: KeyObject;
  /** The raw public key, base64, as batch headers carry it. */
  readonly publicKey: string;
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

/** Makes what is missing of the node's identity, never overwriting; answers the files that it made. */
export async function createIdentity(paths: Paths): Promise<string[]> {
  const files = filesIn(paths);
  const contents: [string, () => string, number][] = [
    [files.id, () => `${randomUUID()}\n`, 0o644],
    [
      files.key,
      () => generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
      0o600,
    ],
    [files.secret, () => `${randomBytes(32).toString('hex')}\n`, 0o600],
  ];
  const made: string[] = [];
  for (const [path, content, mode] of contents) {
    if (await create(realDisk, path, Buffer.from(content()), mode)) made.push(path);
  }
  await realDisk.sync(paths.etc);
  return made;
}

async function readPart(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isMissing(error)) {
      throw new DsacError('config', `cannot read ${path}: it is not there`, {
        hint: 'run dsac init first (with the same --home)',
      });
    }
    throw new DsacError('config', `cannot read ${path}: ${reasonOf(error)}`, {
      cause: error,
      hint: 'run as the user that ran dsac init',
    });
  }
}

/** Reads the node's identity. Throws `config` errors that say which file is wrong. */
export async function loadIdentity(paths: Paths): Promise<Identity> {
  const files = filesIn(paths);
  const node = (await readPart(files.id)).trim();
  if (!UUID.test(node))
    throw new DsacError('config', `${files.id}: expected a UUID, found '${node.slice(0, 60)}'`);
  const pem = await readPart(files.key);
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch (error) {
    throw new DsacError('config', `${files.key}: not a private key in PEM`, { cause: error });
  }
  if (key.asymmetricKeyType !== 'ed25519')
    throw new DsacError('config', `${files.key}: expected an ed25519 key, found ${key.asymmetricKeyType}`);
  const secret = (await readPart(files.secret)).trim();
  return {
    node,
    key,
    publicKey: rawPublicKey(key),
    digest: (text) => createHmac('sha256', secret).update(text).digest('hex').slice(0, 32),
  };
}
