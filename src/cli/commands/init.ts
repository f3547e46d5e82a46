import { type Command, Option } from 'commander';
import type { Role } from '../../run/init.ts';
import { type CommonOptions, pathsFor, withCommon } from '../setting.ts';
import { writeOut } from '../terminal.ts';

interface InitOptions extends CommonOptions {
  readonly role: Role;
  readonly rotateKey?: boolean;
}

/** Gives this node another key, and says what follows from that. */
async function runRotate(options: InitOptions): Promise<void> {
  const { rotateKey } = await import('../../run/identity.ts');
  const { file, old, key } = await rotateKey(pathsFor(options));
  await writeOut(`changed ${file}: ${old} signed for ${key} and is gone\n`);
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
    .option(
      '--rotate-key',
      'give this node a new signing key instead; the old one signs for it and is destroyed',
    )
    .action((options: InitOptions) => (options.rotateKey ? runRotate(options) : runInit(options)));
}
