/** What every command shares: where DSAC's files are, the configuration, the log, and the signal that ends a run. */
import { statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { configFile, readConfig } from '../config/file.ts';
import type { Config } from '../config/load.ts';
import { type Paths, pathsBelow } from '../config/paths.ts';
import { DURATION_FORMS, parseDuration } from '../config/time.ts';
import { DsacError } from '../errors.ts';
import { type Log, openLog } from '../log.ts';
import { planned } from '../run/plan.ts';
import { say } from './terminal.ts';
import { build } from './version.ts';

export interface CommonOptions {
  readonly config?: string;
  readonly home?: string;
  readonly rootfs?: string;
  readonly verbose?: boolean;
}

/** Where and how one command runs. */
export interface Plain {
  /** The command's own name, as messages begin with it: `dsac-agent`. */
  readonly program: string;
  readonly options: CommonOptions;
  readonly paths: Paths;
  readonly log: Log;
  /** Aborted by SIGTERM or SIGINT: finish what is in hand and leave. */
  readonly signal: AbortSignal;
  readonly clock: () => Date;
}

/** The same, with the configuration. */
export interface Setting extends Plain {
  readonly config: Config;
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

/** Makes a path that was given on the command line absolute: cron and a changed directory must mean the same. */
function absolute(text: string): string {
  if (text === '') throw new InvalidArgumentError('a path cannot be empty.');
  return resolve(text);
}

/** An existing directory, absolute: a tree that is not there must not look like one in which there is nothing. */
export function directory(text: string): string {
  const path = absolute(text);
  if (!isDirectory(path)) throw new InvalidArgumentError(`there is no directory ${path}.`);
  return path;
}

/** Throws where nothing of DSAC can be: a mistyped home must not become an empty one. */
export function requireHome({ home }: Paths): void {
  if (isDirectory(home)) return;
  throw new DsacError('config', `there is no directory ${home}`, {
    hint: `correct --home or DSAC_HOME, or make an installation there: dsac init --home ${home}`,
  });
}

/** Adds the options that every command has. */
export function withCommon(command: Command): Command {
  return command
    .option(
      '--config <file>',
      'configuration file (default: etc/dsac/dsac.yaml below home, or $DSAC_CONFIG)',
      absolute,
    )
    .option('--home <dir>', 'where all of DSAC’s own paths hang (default: $DSAC_HOME, or /)', absolute)
    .option('--rootfs <dir>', 'the system that agents look at (default: /)', directory)
    .option('--verbose', 'log to stderr too');
}

function maxTime(text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined || ms === 0)
    throw new DsacError('usage', `--max-time: '${text}' is not a duration`, {
      hint: `use ${DURATION_FORMS}`,
    });
  return ms;
}

/** Adds `--max-time` to a command that can leave the rest of its work to the next run; its value comes in ms. */
export function withMaxTime(command: Command): Command {
  return command.option('--max-time <duration>', 'leave after this long at the latest', maxTime);
}

/** Where DSAC's files are for these options. */
export function pathsFor(options: CommonOptions): Paths {
  return pathsBelow(options.home ?? (process.env.DSAC_HOME || '/'));
}

/** Aborts with `signal`, or once the command has run for `maxTime` ms. */
export function within(signal: AbortSignal, maxTime: number | undefined): AbortSignal {
  if (maxTime === undefined) return signal;
  const controller = new AbortController();
  setTimeout(() => controller.abort(new Error('the time given by --max-time is over')), maxTime).unref();
  return AbortSignal.any([signal, controller.signal]);
}

/** Aborted by the first SIGTERM or SIGINT; a second one ends the process at once. */
export function stopSignal(): AbortSignal {
  const controller = new AbortController();
  const stop = (): void => {
    if (controller.signal.aborted) process.exit(130);
    controller.abort(new Error('stopped by a signal'));
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  return controller.signal;
}

/** Reads the configuration and opens the log for one command. */
export async function prepare(program: string, options: CommonOptions): Promise<Setting> {
  const paths = pathsFor(options);
  requireHome(paths);
  const { loadConfig } = await import('../config/load.ts');
  const { file, required } = configFile(paths, options.config, process.env);
  const config = await loadConfig(file, required);
  return { ...(await prepareWithout(program, options)), config };
}

/** What `make` makes of the configuration for one command line: remembered, or made now. Throws what `make` throws, and `config` errors. */
export async function planFor<T>(
  program: string,
  names: readonly string[],
  options: CommonOptions,
  make: (config: Config) => Promise<T>,
): Promise<T> {
  const paths = pathsFor(options);
  requireHome(paths);
  const { file, required } = configFile(paths, options.config, process.env);
  const text = readConfig({ file, required });
  return planned(join(paths.lib, `plan.${program}.json`), [build(), file, text ?? null, names], async () => {
    const { parseConfig } = await import('../config/load.ts');
    return make(await parseConfig(file, text));
  });
}

/** Opens the log for one command that knows already what its configuration amounts to. */
export async function prepareWithout(program: string, options: CommonOptions): Promise<Plain> {
  const paths = pathsFor(options);
  const log = await openLog(program, join(paths.log, 'dsac.log'), {
    verbose: options.verbose ?? false,
    complain: (reason) => {
      if (options.verbose) say(program, `warning: ${reason}`);
    },
  });
  return { program, options, paths, log, signal: stopSignal(), clock: () => new Date() };
}
