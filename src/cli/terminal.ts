/** What a command says, and where: data on stdout, everything for people on stderr, in one voice. */
import { once } from 'node:events';
import { DsacError, errorCode, isForbidden, reasonOf } from '../errors.ts';
import { EXIT, exitCode } from './exit.ts';
import { safe } from './output/safe.ts';

/** How messages about standard output itself begin. */
let speaker = 'dsac';
let guarded = false;
let hushed = false;

/** Names the command that runs, for what is said of its output. */
export function speakAs(program: string): void {
  speaker = program;
}

/**
 * Standard output, made when something is written to it: most runs of cron write nothing. A reader that goes away (`dsac report | head`) ends the
 * command quietly; an output that cannot be written ends it with the reason.
 */
function output(): NodeJS.WriteStream {
  if (!guarded)
    process.stdout.on('error', (error) => {
      if (errorCode(error) === 'EPIPE') process.exit(EXIT.ok);
      say(speaker, `error: cannot write to standard output: ${error.message}`);
      process.exit(EXIT.io);
    });
  guarded = true;
  return process.stdout;
}

/** Writes data to stdout and waits while its reader is slow. */
export async function writeOut(text: string): Promise<void> {
  const stdout = output();
  if (!stdout.write(text)) await once(stdout, 'drain');
}

/** Writes text for people to stdout, and does not wait. */
export function print(text: string): void {
  output().write(text);
}

/** Standard error. Its reader may be gone and its disk full: what cannot be said changes nothing of what a command does, or how it ends. */
function errors(): NodeJS.WriteStream {
  if (!hushed) process.stderr.on('error', () => {});
  hushed = true;
  return process.stderr;
}

/** Says something to a person: `dsac-dispatch: broker: cannot connect`. */
export function say(program: string, message: string): void {
  errors().write(`${program}: ${safe(message)}\n`);
}

/** The exit code that a system error stands for, by its code. */
function codeOfSystemError(error: unknown): number | undefined {
  if (isForbidden(error)) return EXIT.noperm;
  const code = errorCode(error);
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
  if (verbose && error instanceof Error) errors().write(`${safe(error.stack ?? '', { newlines: true })}\n`);
  else say(program, 'hint: this is a bug in DSAC; --verbose shows where');
  return EXIT.software;
}
