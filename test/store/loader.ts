/** A process of its own that loads the batches of a file, one by one: `node loader.ts URL FILE`. */
import { readFileSync } from 'node:fs';
import { decode } from '../../src/spool/decode.ts';
import { openStore } from '../../src/store/store.ts';

const [url, file] = process.argv.slice(2);
const store = await openStore(url, { home: '/' });
for (const { batch } of decode(readFileSync(file!))) if (batch) await store.load([batch]);
await store.close();
