/** The one place where errors become exit codes: sysexits(3). */
import type { ErrorKind } from '../errors.ts';

export const EXIT = {
  ok: 0,
  /** `--fail` found something missing. */
  found: 1,
  usage: 64,
  data: 65,
  unavailable: 69,
  software: 70,
  io: 74,
  tempfail: 75,
  noperm: 77,
  config: 78,
} as const;

/** The exit code for a kind of error. */
export function exitCode(kind: ErrorKind): number {
  return EXIT[kind];
}
