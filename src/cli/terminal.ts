/** What a command says, and where: data on stdout, everything for people on stderr, in one voice. */
import { once } from 'node:events';
import { DsacError, errorCode, reasonOf } from '../errors.ts';
import { EXIT, exitCode } from './exit.ts';
import { safe } from './output/safe.ts';

/** Writes data to stdout and waits while its reader is slow. */
export async function writeOut(text: string): Promise<void> {
  if (!process.stdout.write(text)) await once(process.stdout, 'drain');
}

/** Says something to a person: `dsac-dispatch: broker: cannot connect`. */
export function say(program: string, message: string): void {
  process.stderr.write(`${program}: ${safe(message)}\n`);
}

/** The exit code that a system error stands for, by its code. */
function codeOfSystemError(error: unknown): number | undefined {
  const code = errorCode(error);
  if (code === 'EACCES' || code === 'EPERM') return EXIT.noperm;
  if (code === undefined || !/^E[A-Z]+$/.test(code)) return undefined;
  return EXIT.io;
}

/** Says what went wrong, with its hint, and answers the exit code. */
export function complain(program: string, error: unknown, verbose: boolean): number {
  say(program, `error: ${reasonOf(error)}`);
  if (error instanceof DsacError) {
    if (error.hint !== undefined) say(program, `hint: ${error.hint}`);
    return exitCode(error.kind);
  }
  const code = codeOfSystemError(error);
  if (code === EXIT.noperm) say(program, 'hint: run as root, or give --home a folder of your own');
  if (code !== undefined) return code;
  if (verbose && error instanceof Error)
    process.stderr.write(`${safe(error.stack ?? '', { newlines: true })}\n`);
  else say(program, 'hint: this is a bug in DSAC; --verbose shows where');
  return EXIT.software;
}
