import { type Command, Option } from 'commander';
import type { Role } from '../../run/init.ts';
import { type CommonOptions, pathsFor, withCommon } from '../setting.ts';
import { writeOut } from '../terminal.ts';

interface InitOptions extends CommonOptions {
  readonly role: Role;
}

/** Lays out an installation and says what was made and what was there. */
async function runInit(options: InitOptions): Promise<void> {
  const { init } = await import('../../run/init.ts');
  const done = await init(pathsFor(options), options.role);
  for (const { path, made } of done) await writeOut(`${made ? 'made  ' : 'exists'} ${path}\n`);
}

/** `dsac init` */
export function registerInit(program: Command): void {
  withCommon(program.command('init'))
    .description('make configuration, node id, signing key and directories; overwrites nothing')
    .addOption(
      new Option('--role <role>', 'what this host is').choices(['node', 'central', 'all']).default('all'),
    )
    .action((options: InitOptions) => runInit(options));
}
