/** What went wrong, as the caller may act on it; src/cli/exit.ts maps each kind to a sysexits(3) code. */
export type ErrorKind =
  | 'usage'
  | 'data'
  | 'unavailable'
  | 'software'
  | 'io'
  | 'tempfail'
  | 'noperm'
  | 'config';

/** An error meant for a person: `message` says what, where, expected and received; `hint` what to do next. */
export class DsacError extends Error {
  readonly kind: ErrorKind;
  readonly hint: string | undefined;

  constructor(kind: ErrorKind, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'DsacError';
    this.kind = kind;
    this.hint = options.hint;
  }
}

/** The `code` of a Node system error (`ENOENT`, …), or undefined for any other value. */
export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

/** The first problem of a schema's error (zod's `issues`) as `field: message`; undefined for any other error. */
function firstIssue(error: Error): string | undefined {
  if (!('issues' in error) || !Array.isArray(error.issues)) return undefined;
  const issue = error.issues[0] as { path: PropertyKey[]; message: string } | undefined;
  if (issue === undefined) return undefined;
  return issue.path.length > 0 ? `${issue.path.map(String).join('.')}: ${issue.message}` : issue.message;
}

/** One line that says what an unknown thrown value is, causes included, without its stack. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const issue = firstIssue(error);
  if (issue !== undefined) return issue;
  const nested = error instanceof AggregateError ? error.errors.map(reasonOf).join('; ') : '';
  const own = error.message || nested || errorCode(error) || error.name;
  if (error.cause === undefined) return own;
  const cause = reasonOf(error.cause);
  return own.includes(cause) ? own : `${own}: ${cause}`;
}

/** The reason with its hint, for where there is one line for both. */
export function adviceOf(error: unknown): string {
  const hint = error instanceof DsacError && error.hint !== undefined ? ` (${error.hint})` : '';
  return `${reasonOf(error)}${hint}`;
}

const UNREADABLE = new Set(['EIO', 'EACCES', 'EPERM', 'EBADMSG', 'EUCLEAN']);

/** Whether an error of a read is this one file's own: another file may well be readable. */
export function isUnreadable(error: unknown): boolean {
  return UNREADABLE.has(errorCode(error) ?? '');
}

/** Whether a system error means that this user may not. */
export function isForbidden(error: unknown): boolean {
  const code = errorCode(error);
  return code === 'EACCES' || code === 'EPERM';
}

/** Whether a file-system error means that the thing is simply not there. */
export function isMissing(error: unknown): boolean {
  const code = errorCode(error);
  return code === 'ENOENT' || code === 'ENOTDIR';
}
