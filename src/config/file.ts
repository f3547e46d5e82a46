/** Where the configuration is, and its text. */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { DsacError, isMissing, reasonOf } from '../errors.ts';
import type { Paths } from './paths.ts';

export interface ConfigFile {
  readonly file: string;
  /** Whether it must be there: it was named. */
  readonly required: boolean;
}

/** Where the configuration is: `--config`, else DSAC_CONFIG, else etc/dsac/dsac.yaml below home. Only the first two must exist. */
export function configFile(paths: Paths, flag: string | undefined, env: NodeJS.ProcessEnv): ConfigFile {
  const named = flag ?? env.DSAC_CONFIG;
  return named
    ? { file: resolve(named), required: true }
    : { file: join(paths.etc, 'dsac.yaml'), required: false };
}

/** The file's text, or undefined when it is not there and need not be. Throws a `config` error. */
export function readConfig({ file, required }: ConfigFile): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (!required && isMissing(error)) return undefined;
    throw new DsacError('config', `cannot read the configuration ${file}: ${reasonOf(error)}`, {
      cause: error,
      hint: 'dsac init writes one',
    });
  }
}
