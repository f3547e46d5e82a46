/** What every command shares: where DSAC's files are, the configuration, the log, and the signal that ends a run. */
import { join } from 'node:path';
import type { Command } from 'commander';
import type { Config } from '../config/load.ts';
import { type Paths, pathsBelow } from '../config/paths.ts';
import { type Log, openLog } from '../log.ts';
import { say } from './terminal.ts';

export interface CommonOptions {
  readonly config?: string;
  readonly home?: string;
  readonly rootfs?: string;
  readonly verbose?: boolean;
}

export interface Setting {
  /** The command's own name, as messages begin with it: `dsac-agent`. */
  readonly program: string;
  readonly options: CommonOptions;
  readonly paths: Paths;
  readonly config: Config;
  readonly log: Log;
  /** Aborted by SIGTERM or SIGINT: finish what is in hand and leave. */
  readonly signal: AbortSignal;
  readonly clock: () => Date;
}

/** Adds the options that every command has. */
export function withCommon(command: Command): Command {
  return command
    .option('--config <file>', 'configuration file (default: etc/dsac/dsac.yaml below home, or $DSAC_CONFIG)')
    .option('--home <dir>', 'where all of DSAC’s own paths hang (default: $DSAC_HOME, or /)')
    .option('--rootfs <dir>', 'the system that agents look at (default: /)')
    .option('--verbose', 'log to stderr too');
}

/** Where DSAC's files are for these options. */
export function pathsFor(options: CommonOptions): Paths {
  return pathsBelow(options.home ?? (process.env.DSAC_HOME || '/'));
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
  const { configFile, loadConfig } = await import('../config/load.ts');
  const { file, required } = configFile(paths, options.config, process.env);
  const config = await loadConfig(file, required);
  const log = await openLog(program, join(paths.log, 'dsac.log'), {
    verbose: options.verbose ?? false,
    complain: (reason) => {
      if (options.verbose) say(program, `warning: ${reason}`);
    },
  });
  return { program, options, paths, config, log, signal: stopSignal(), clock: () => new Date() };
}
