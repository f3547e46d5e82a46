/** Reads an archive as anyone could, with nothing but its files. */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Header } from '../../src/spool/batch.ts';
import { decode } from '../../src/spool/decode.ts';
import { unfold } from '../../src/spool/unfold.ts';

/** The headers of all batches in a home's archive, each as often as it is there. Throws where one is damaged. */
export async function archivedBatches(home: string): Promise<Header[]> {
  const root = join(home, 'var/lib/dsac/archive');
  const found: Header[] = [];
  for (const path of globSync('**/*.jsonl.zst', { cwd: root })) {
    for (const { batch } of decode(await unfold(readFileSync(join(root, path))))) {
      if (batch === undefined) throw new Error(`${path} in the archive is damaged`);
      found.push(batch.header);
    }
  }
  return found;
}
