import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';

/** Compares text with a file that is kept in the project. `DSAC_UPDATE=1` writes the file instead: look at the difference before you commit it. */
export function assertGolden(file: URL, text: string, message: string): void {
  if (process.env.DSAC_UPDATE === '1') writeFileSync(file, text);
  assert.equal(text, readFileSync(file, 'utf8'), `${message} (DSAC_UPDATE=1 npm test writes it)`);
}
