/** The `dsac` program: its commands, and how a run ends. Only commander is loaded before a command is chosen. */
import { Command, CommanderError } from 'commander';
import { errorCode } from '../errors.ts';
import { registerAgent } from './commands/agent.ts';
import { registerConsume } from './commands/consume.ts';
import { registerCron } from './commands/cron.ts';
import { registerDispatch, registerProcess } from './commands/deliver.ts';
import { registerDemo } from './commands/demo.ts';
import { registerInit } from './commands/init.ts';
import { registerNode } from './commands/node.ts';
import { registerReport } from './commands/report.ts';
import { registerSpool } from './commands/spool.ts';
import { registerTrust } from './commands/trust.ts';
import { registerVerify } from './commands/verify.ts';
import { EXIT } from './exit.ts';
import { complain, say } from './terminal.ts';
import { version } from './version.ts';

/** The commands that are also bins of their own: `dsac-agent` is `dsac agent`. */
const OWN_BIN = /^dsac-(agent|dispatch|consume|process|report|spool)$/;

/** An option of every command, given before the command. */
const MISPLACED = /unknown option '--(?:config|home|rootfs|verbose)'/;

/** Every command of `dsac`, in the order of a batch's way. */
export function buildProgram(): Command {
  const program = new Command('dsac')
    .description(
      'show what changed on every machine, who did it, who logged in, and whether that account is complete',
    )
    .version(version(), '--version')
    .helpOption('-h, --help')
    .configureOutput({ writeErr: () => {} })
    .exitOverride()
    .enablePositionalOptions();
  for (const register of [
    registerInit,
    registerAgent,
    registerDispatch,
    registerConsume,
    registerProcess,
    registerReport,
    registerNode,
    registerSpool,
    registerTrust,
    registerVerify,
    registerCron,
    registerDemo,
  ]) {
    register(program);
  }
  return program;
}

/** A reader that goes away (`dsac report | head`) ends the command quietly; an output that cannot be written ends it with the reason. */
function endOnLostOutput(name: string): void {
  process.stdout.on('error', (error) => {
    if (errorCode(error) === 'EPIPE') process.exit(EXIT.ok);
    say(name, `error: cannot write to standard output: ${error.message}`);
    process.exit(EXIT.io);
  });
}

/**
 * Runs one command line. `name` is the bin's own name; all but `dsac` stand for a command of it. Sets `process.exitCode`.
 */
export async function main(name: string, args: readonly string[]): Promise<void> {
  const command = OWN_BIN.exec(name)?.[1];
  const speaker = command === undefined ? programName(args) : name;
  endOnLostOutput(speaker);
  const line = command === undefined || args[0] === '--version' ? args : [command, ...args];
  const program = buildProgram();
  try {
    await program.parseAsync(line, { from: 'user' });
  } catch (error) {
    process.exitCode = ended(error, program, speaker, args);
  }
}

/** What messages begin with: `dsac-agent` for `dsac agent …`. */
function programName(args: readonly string[]): string {
  const first = args.find((arg) => !arg.startsWith('-'));
  return first !== undefined && OWN_BIN.test(`dsac-${first}`) ? `dsac-${first}` : 'dsac';
}

/** The command whose help is to be asked for: `dsac init` for `dsac init --role x`. */
function helpful(program: Command, name: string, args: readonly string[]): string {
  const first = args.find((arg) => !arg.startsWith('-'));
  const known = program.commands.some((command) => command.name() === first);
  return name === 'dsac' && known ? `dsac ${first}` : name.replace('-', ' ');
}

/** What commander complains of, and what to do about it. */
function usageError({ code, message }: CommanderError, name: string, help: string, args: readonly string[]) {
  const hint = `${help} --help shows what there is`;
  if (code === 'commander.help') {
    const asked = args[args.indexOf('help') + 1];
    const wrong = args.includes('help') && asked !== undefined;
    return { error: wrong ? `error: unknown command '${asked}'` : 'error: no command given', hint };
  }
  const [error = '', guess = ''] = message.split('\n');
  if (name === 'dsac' && MISPLACED.test(error))
    return { error, hint: 'give it after the command: dsac init --home DIR' };
  const [, wrong, choices] = /^(.+) Allowed choices are (.+)\.$/.exec(error) ?? [];
  if (wrong !== undefined) return { error: wrong, hint: `use one of: ${choices}` };
  const near = /^\(Did you mean (.+)\?\)$/.exec(guess)?.[1];
  return { error, hint: near === undefined ? hint : `did you mean '${near}'?` };
}

function ended(error: unknown, program: Command, name: string, args: readonly string[]): number {
  if (!(error instanceof CommanderError)) return complain(name, error, args.includes('--verbose'));
  if (error.exitCode === 0) return EXIT.ok;
  const told = usageError(error, name, helpful(program, name, args), args);
  say(name, told.error);
  say(name, `hint: ${told.hint}`);
  return EXIT.usage;
}
