/** What a person decides of a node's key, and which files of the central spool wait for that. */
import type { Paths } from '../config/paths.ts';
import { DsacError, isMissing, isUnreadable } from '../errors.ts';
import { appendKnown, isPublicKey, type KnownKey, KnownNodes } from '../evidence/known-nodes.ts';
import { uuidSchema } from '../spool/batch.ts';
import { Spool } from '../spool/spool.ts';
import { trustFolder } from './gate.ts';

/** The keys that this centre knows. Throws a `config` error that names file and line. */
export function knownNodes(paths: Paths): Promise<KnownNodes> {
  return KnownNodes.read(trustFolder(paths));
}

/** Writes a line that pins or revokes a key; answers the file. Throws `usage` for what is no node id or no key. */
export async function sayOfKey(
  paths: Paths,
  { node, key, how }: Pick<KnownKey, 'node' | 'key'> & { how: 'pinned' | 'revoked' },
  now: Date,
): Promise<string> {
  if (!uuidSchema.safeParse(node).success)
    throw new DsacError('usage', `'${node}' is not a node id`, {
      hint: 'it is a UUID: what etc/dsac/node.id of that node holds',
    });
  if (!isPublicKey(key))
    throw new DsacError('usage', `'${key}' is not a public key`, {
      hint: 'it is 44 characters of base64: the reason of what was set aside names it (dsac spool ls hold corrupt --stack in)',
    });
  const { path } = await knownNodes(paths);
  await appendKnown(path, [{ time: now.toISOString(), node, key, how }]);
  return path;
}

/** The files in `hold` and `corrupt` of the central spool that are whole and hold a batch of this node, signed by this key. */
export async function waitingFor(paths: Paths, node: string, key: string): Promise<string[]> {
  const spool = new Spool(paths.in);
  const found: string[] = [];
  for (const state of ['hold', 'corrupt'] as const) {
    for await (const file of spool.files(state)) {
      try {
        const decoded = await spool.open(file.path);
        if (decoded.some(({ batch }) => batch?.header.node === node && batch.header.key === key))
          found.push(`${state}/${file.name}`);
      } catch (error) {
        if (!isMissing(error) && !isUnreadable(error)) throw error;
      }
    }
  }
  return found.sort();
}
