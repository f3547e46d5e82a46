import { CommandFailed, type Ended, type System } from '../host/system.ts';

const ERROR = /^(?:[^\s:]+: )?(?:fatal )?error:/;

/** From the first error on, or all of it: what warnings stand before would crowd it out of a message. */
function complaint(stderr: string): string {
  const lines = stderr.split('\n');
  const first = lines.findIndex((line) => ERROR.test(line));
  return first < 0 ? stderr : lines.slice(first).join('\n');
}

/** All that a command prints. Throws when it does not end well, and when it reports an error but exits 0: half a list is no list. */
export async function wholeOutput(
  system: System,
  command: string,
  args: readonly string[],
  signal: AbortSignal,
): Promise<Ended & { stdout: Buffer }> {
  const ended = await system.run(command, args, { signal });
  const said = complaint(ended.stderr);
  if (ended.code !== 0 || ERROR.test(said)) {
    const shown = args.filter((arg) => !arg.includes('\\n'));
    throw new CommandFailed(command, shown, { ...ended, stderr: said });
  }
  return ended;
}
