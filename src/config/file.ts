/** Where the configuration is, and its text. */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { DsacError, isForbidden, isMissing, reasonOf } from '../errors.ts';
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

/** The file's text, or undefined when it is not there and need not be. Throws a `config` error, or a `noperm` one. */
export function readConfig({ file, required }: ConfigFile): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (!required && isMissing(error)) return undefined;
    const what = `cannot read the configuration ${file}: ${reasonOf(error)}`;
    if (isForbidden(error))
      throw new DsacError('noperm', what, { cause: error, hint: 'run as the user that ran dsac init' });
    throw new DsacError('config', what, {
      cause: error,
      hint: required
        ? 'correct --config or DSAC_CONFIG; dsac init writes one to etc/dsac/dsac.yaml below home'
        : 'dsac init writes one where there is none',
    });
  }
}
