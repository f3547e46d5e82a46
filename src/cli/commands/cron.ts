import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { configFile } from '../../config/file.ts';
import { projectRoot } from '../../config/project.ts';
import { DsacError } from '../../errors.ts';
import { type CommonOptions, pathsFor, requireHome, withCommon } from '../setting.ts';
import { writeOut } from '../terminal.ts';

interface CronOptions extends CommonOptions {
  readonly role?: 'node' | 'central';
}

/** A word for sh inside a crontab line, where `%` means a line break unless escaped (crontab(5)). */
function word(text: string): string {
  if (text.includes('\n'))
    throw new DsacError('config', `a line of a crontab cannot hold a path with a line break: ${text}`, {
      hint: 'give the folder another name',
    });
  const quoted = /^[\w@+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
  return quoted.replaceAll('%', '\\%');
}

function splayKey(etc: string): string {
  try {
    return readFileSync(join(etc, 'node.id'), 'utf8').trim();
  } catch {
    return '';
  }
}

/** What the crontab lines depend on. */
export interface Install {
  /** The shell words that run one of DSAC's commands. */
  command(name: string, ...args: string[]): string;
  /** The node's id: spreads a fleet's starts over five minutes, so that a broker is not met by all at once. */
  readonly key: string;
  /** Whether there is a broker to consume from. */
  readonly consumes: boolean;
}

/** Crontab lines for a role. */
export function crontab(role: 'node' | 'central', { command, key, consumes }: Install): string[] {
  const hash = createHash('sha256').update(key).digest();
  const minute = hash[0]! % 5;
  const second = hash[1]! % 60;
  const everyFive = minute === 0 ? '*/5' : `${minute}-59/5`;
  const later = second === 0 ? '' : `sleep ${second}; `;
  if (role === 'node') return [`${everyFive} * * * * ${later}${command('agent')}; ${command('dispatch')}`];
  const consume = consumes ? [`* * * * * ${command('consume', '--max-time', '50s')}`] : [];
  return [...consume, `* * * * * ${command('process')}`];
}

async function runCron(options: CronOptions): Promise<void> {
  const paths = pathsFor(options);
  requireHome(paths);
  const { loadConfig } = await import('../../config/load.ts');
  const { file, required } = configFile(paths, options.config, process.env);
  const consumes = (await loadConfig(file, required)).consume !== undefined;
  const flags = [
    ...(paths.home === '/' ? [] : ['--home', paths.home]),
    ...(required ? ['--config', file] : []),
    ...(options.rootfs === undefined ? [] : ['--rootfs', options.rootfs]),
  ];
  const bin = join(projectRoot, 'bin/dsac.js');
  const command = (name: string, ...args: string[]): string =>
    [process.execPath, bin, name, ...args, ...flags].map(word).join(' ');
  for (const role of options.role === undefined ? (['node', 'central'] as const) : [options.role]) {
    await writeOut(
      `# DSAC, ${role}: for crontab -e of the user that ran dsac init; silent unless a person must act\n`,
    );
    for (const line of crontab(role, { command, key: splayKey(paths.etc), consumes }))
      await writeOut(`${line}\n`);
  }
}

/** `dsac cron` */
export function registerCron(program: Command): void {
  withCommon(program.command('cron'))
    .description('print the crontab entries for this install')
    .addOption(
      new Option('--role <role>', 'only a node’s, or only the centre’s').choices(['node', 'central']),
    )
    .action((options: CronOptions) => runCron(options));
}
