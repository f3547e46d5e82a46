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
