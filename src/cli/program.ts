/** The `dsac` program: its commands, and what is said of a line that is none. Only commander is loaded before a command is chosen. */
import { Command, CommanderError } from 'commander';
import { EXIT } from './exit.ts';
import { complain, print, say, speakAs } from './terminal.ts';

/** The commands that are also bins of their own: `dsac-agent` is `dsac agent`. */
const OWN_BIN = /^dsac-(agent|dispatch|consume|process|report|spool)$/;

/** An option of every command, given before the command. */
const MISPLACED = /unknown option '--(?:config|home|rootfs|verbose)'/;

type Register = (program: Command) => void;

/** Every command of `dsac`, in the order of a batch's way, and where it is: only the one that is asked for is loaded. */
const COMMANDS: Readonly<Record<string, () => Promise<Register>>> = {
  init: async () => (await import('./commands/init.ts')).registerInit,
  agent: async () => (await import('./commands/agent.ts')).registerAgent,
  dispatch: async () => (await import('./commands/deliver.ts')).registerDispatch,
  consume: async () => (await import('./commands/consume.ts')).registerConsume,
  process: async () => (await import('./commands/deliver.ts')).registerProcess,
  report: async () => (await import('./commands/report.ts')).registerReport,
  node: async () => {
    const { registerNode } = await import('./commands/node.ts');
    const { registerTrust } = await import('./commands/trust.ts');
    return (program) => {
      registerNode(program);
      registerTrust(program);
    };
  },
  spool: async () => (await import('./commands/spool.ts')).registerSpool,
  verify: async () => (await import('./commands/verify.ts')).registerVerify,
  cron: async () => (await import('./commands/cron.ts')).registerCron,
  demo: async () => (await import('./commands/demo.ts')).registerDemo,
};

/** The commands that a line needs: the one that it begins with, else all, for help and for what is misspelt. */
function commandsFor([first = '']: readonly string[]): string[] {
  return Object.hasOwn(COMMANDS, first) ? [first] : Object.keys(COMMANDS);
}

async function buildProgram(line: readonly string[]): Promise<Command> {
  const program = new Command('dsac')
    .description(
      'show what changed on every machine, who did it, who logged in, and whether that account is complete',
    )
    .option('--version', 'output the version number')
    .helpOption('-h, --help')
    .configureOutput({ writeOut: print, writeErr: () => {} })
    .exitOverride()
    .enablePositionalOptions();
  for (const name of commandsFor(line)) (await COMMANDS[name]!())(program);
  return program;
}

/**
 * Runs one command line. `name` is the bin's own name; all but `dsac` stand for a command of it. Answers the exit code where it is known by now.
 */
export async function run(name: string, args: readonly string[]): Promise<number | undefined> {
  const command = OWN_BIN.exec(name)?.[1];
  const speaker = command === undefined ? programName(args) : name;
  speakAs(speaker);
  const line = command === undefined ? args : [command, ...args];
  const program = await buildProgram(line);
  try {
    await program.parseAsync(line, { from: 'user' });
    return undefined;
  } catch (error) {
    return ended(error, program, speaker, args);
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
