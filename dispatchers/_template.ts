/** Copy this file to dispatchers/<name>.ts, and its test to test/dispatchers/<name>.test.ts: a dispatcher is this much and no more. */
import { appendFile } from 'node:fs/promises';
import * as z from 'zod';
import { reasonOf } from '../src/errors.ts';
import { DELIVERED, DestinationDown, defineDispatcher } from '../src/plugin/handler.ts';

const options = z.strictObject({
  file: z.string().min(1).describe('file that batches are appended to'),
});

export default defineDispatcher({
  name: 'template',
  summary: 'appends batches to one file, and nothing more',
  options,
  async open({ options: { file } }) {
    return {
      async deliver(parcels) {
        try {
          await appendFile(file, Buffer.concat(parcels.map(({ batch }) => batch.bytes)), { flush: true });
        } catch (error) {
          // The destination's trouble: the runner counts nothing against the batches and tries again later.
          throw new DestinationDown(`cannot append to ${file}: ${reasonOf(error)}`, { cause: error });
        }
        return parcels.map(() => DELIVERED);
      },
      async close() {},
    };
  },
});
