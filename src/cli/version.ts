import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { projectRoot } from '../config/project.ts';

/** DSAC's version, from package.json. */
export function version(): string {
  const { version: text } = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')) as {
    version: string;
  };
  return text;
}

/** The digest of all sources that this was built from, put here by build.ts. */
declare const DSAC_BUILD: string | undefined;

/** Names this build of DSAC: another one may understand the same files in another way. */
export function build(): string {
  return typeof DSAC_BUILD === 'string' ? DSAC_BUILD : version();
}
