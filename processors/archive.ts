import { isAbsolute, join } from 'node:path';
import * as z from 'zod';
import { Archive } from '../src/archive/archive.ts';
import { reasonOf } from '../src/errors.ts';
import { isFileTrouble } from '../src/plugin/file-trouble.ts';
import { DELIVERED, DestinationDown, defineProcessor } from '../src/plugin/handler.ts';

const options = z.strictObject({
  path: z
    .string()
    .min(1)
    .default('var/lib/dsac/archive')
    .describe('folder of the archive; a relative one is below DSAC’s home'),
});

/** What keeps the archive as a whole from being written, as a handler tells it; anything else as it is. */
function asDown(error: unknown, root: string): unknown {
  if (!isFileTrouble(error)) return error;
  return new DestinationDown(`archive ${root}: ${reasonOf(error)}`, { cause: error });
}

export default defineProcessor({
  name: 'archive',
  summary: 'keeps the original bytes for good, in one folder a day of compressed segments',
  options,
  async open({ options: { path }, paths, log }) {
    const root = isAbsolute(path) ? path : join(paths.home, path);
    const guarded = <T>(work: Promise<T>): Promise<T> =>
      work.catch((error: unknown) => {
        throw asDown(error, root);
      });
    const archive = await guarded(Archive.open(root, log));
    return {
      async deliver(parcels) {
        await guarded(archive.keep(parcels.map(({ batch }) => batch)));
        return parcels.map(() => DELIVERED);
      },
      async close() {
        archive.close();
      },
    };
  },
});
