import { basename, isAbsolute, join } from 'node:path';
import * as z from 'zod';
import type { Paths } from '../src/config/paths.ts';
import { reasonOf } from '../src/errors.ts';
import { isFileTrouble } from '../src/plugin/file-trouble.ts';
import { DELIVERED, DestinationDown, defineDispatcher, type Parcel } from '../src/plugin/handler.ts';
import { batchFile } from '../src/spool/names.ts';
import { isFull, Room } from '../src/spool/quota.ts';
import { Spool } from '../src/spool/spool.ts';

const options = z.strictObject({
  path: z
    .string()
    .min(1)
    .optional()
    .describe(
      'an existing spool (dsac init --role central makes one); default: the central spool of this home',
    ),
});

/** Opens the target. Only this home's own spool is made when missing: elsewhere a missing one may be a file system that is not mounted. */
async function targetSpool(path: string | undefined, paths: Paths): Promise<Spool> {
  const root = path === undefined ? paths.in : isAbsolute(path) ? path : join(paths.home, path);
  const spool = new Spool(root, { by: 'dsac-dispatch' });
  if (root === paths.in) await spool.create();
  for (const state of ['tmp', 'new'] as const) {
    if ((await spool.disk.stat(spool.directory(state))) === undefined)
      throw new DestinationDown(`${root} is no spool (it has no '${state}'): is its file system mounted?`);
  }
  return spool;
}

/** Hands over one batch: the file itself when it holds nothing else, otherwise the batch's bytes under a name of its own. */
async function hand(spool: Spool, { batch, path }: Parcel): Promise<void> {
  const name = batchFile(batch.header);
  if (basename(path) === name && (await spool.disk.stat(path))?.size === batch.bytes.length)
    return spool.adopt(path);
  await spool.stage(name, batch.bytes);
  const staged = join(spool.directory('tmp'), name);
  await spool.adopt(staged);
  await spool.disk.unlink(staged);
}

export default defineDispatcher({
  name: 'directory',
  summary: 'hands batches to another spool on this host, by hard link where it can',
  options,
  async open({ options: { path }, paths, quota }) {
    const spool = await targetSpool(path, paths);
    const room = new Room(spool, quota, '');
    return {
      async deliver(parcels) {
        try {
          for (const parcel of parcels) {
            await room.take(parcel.batch.bytes.length);
            await hand(spool, parcel);
          }
          await spool.settle();
        } catch (error) {
          if (!isFileTrouble(error) && !isFull(error)) throw error;
          throw new DestinationDown(`${spool.root}: ${reasonOf(error)}`, { cause: error });
        }
        return parcels.map(() => DELIVERED);
      },
      async close() {},
    };
  },
});
