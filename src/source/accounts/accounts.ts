/**
 * Reads passwd, group and shadow as glibc's "files" service does: what it takes for an entry is one, what it skips is
 * none (checked against getpwent, getgrent and getspent of glibc 2.36). A password hash leaves this file only as
 * `Secret.hash`, for a keyed digest; nothing here puts a line's text into an error.
 */
import { text } from '../../host/text.ts';

const LF = 0x0a;
const NUL = 0x00;
/** The largest uid or gid, and what glibc's number fields may hold. */
const MAX_ID = 0xffff_ffff;
const NUMBER = /^\s*\+?(\d+)$/;
/** What a crypt(3) hash looks like: a line with its fields out of place must not carry one into a name or a comment. */
const HASH = /\$(?:\d[abxy]?|y|gy|7|sm3|sha1|md5)[$,][!-9;-~]+/g;
/** Last day, counted from 1970-01-01, that still has a four-digit year (9999-12-31). */
const LAST_DAY = 2_932_896;

/** A line that stands for NIS or LDAP accounts to be merged in here: `+`, `+@admins`, `-bad`. */
export function isNisName(name: string): boolean {
  return name.startsWith('+') || name.startsWith('-');
}

export interface PasswdEntry {
  readonly name: string;
  /** The second field: `x` where shadow holds the password. May be a hash: never to be shown. */
  readonly secret: string;
  /** Undefined only on a NIS line that leaves it to the server. */
  readonly uid: number | undefined;
  readonly gid: number | undefined;
  readonly gecos: string;
  readonly home: string;
  readonly shell: string;
}

export interface GroupEntry {
  readonly name: string;
  readonly gid: number | undefined;
  /** Sorted, each once. */
  readonly members: readonly string[];
}

export interface ShadowEntry {
  readonly name: string;
  /** The second field. May be a hash: never to be shown. */
  readonly secret: string;
  /** Day of the last change, counted from 1970-01-01; 0: must be changed at the next login. */
  readonly changed: number | undefined;
  /** Days after which the password must be changed. */
  readonly maxDays: number | undefined;
  /** Day on which the account expires, counted from 1970-01-01. */
  readonly expires: number | undefined;
}

/** The entries of one file, and how many lines held something else. */
export interface Entries<T> {
  readonly entries: readonly T[];
  readonly skipped: number;
}

/** What a password field says. `hash` is the hash, without the `!` that locks it; undefined when there is none. */
export interface Secret {
  readonly state: 'none' | 'set' | 'locked' | 'disabled';
  readonly hash: string | undefined;
}

/** A field's number: up to 2^32 − 1, undefined when empty or absent, NaN for anything else. */
function numberIn(field: string | undefined): number | undefined {
  if (field === undefined || field === '') return undefined;
  const digits = NUMBER.exec(field)?.[1];
  const value = digits === undefined ? Number.NaN : Number(digits);
  return value <= MAX_ID ? value : Number.NaN;
}

/** Text that may be shown: what looks like a hash is replaced, wherever it stands. */
function shown(field: string | undefined): string {
  return (field ?? '').replace(HASH, '[hash]');
}

/** The lines that may be entries: no blank lines or comments, leading blanks gone, each cut at its first NUL as C reads it. */
function* linesOf(bytes: Buffer): Generator<string> {
  for (let at = 0; at < bytes.length; ) {
    const stop = bytes.indexOf(LF, at);
    const line = bytes.subarray(at, stop < 0 ? bytes.length : stop);
    const nul = line.indexOf(NUL);
    const shortened = text(nul < 0 ? line : line.subarray(0, nul)).replace(/^[ \t\v\f\r]+/, '');
    if (shortened !== '' && !shortened.startsWith('#')) yield shortened;
    at = stop < 0 ? bytes.length : stop + 1;
  }
}

function entriesOf<T>(bytes: Buffer, parse: (fields: readonly string[]) => T | undefined): Entries<T> {
  const entries: T[] = [];
  let skipped = 0;
  for (const line of linesOf(bytes)) {
    const entry = parse(line.split(':'));
    if (entry === undefined) skipped++;
    else entries.push(entry);
  }
  return { entries, skipped };
}

/** Whether an id may stand in an entry of this name: a number, or nothing on a NIS line. */
function isId(id: number | undefined, name: string): boolean {
  return id === undefined ? isNisName(name) : !Number.isNaN(id);
}

function passwdEntry(fields: readonly string[]): PasswdEntry | undefined {
  const [name = '', secret = '', uidText, gidText, gecos, home, ...shell] = fields;
  const uid = numberIn(uidText);
  const gid = numberIn(gidText);
  if (!isId(uid, name) || !isId(gid, name)) return undefined;
  return {
    name: shown(name),
    secret,
    uid,
    gid,
    gecos: shown(gecos),
    home: shown(home),
    shell: shown(shell.join(':')),
  };
}

function groupEntry(fields: readonly string[]): GroupEntry | undefined {
  const [name = '', , gidText, ...rest] = fields;
  const gid = numberIn(gidText);
  if (!isId(gid, name)) return undefined;
  const members = rest
    .join(':')
    .split(',')
    .map((member) => shown(member.trimStart()))
    .filter((member) => member !== '');
  return { name: shown(name), gid, members: [...new Set(members)].sort() };
}

/**
 * Whether a shadow line has the fields of an entry after name and password: the five-field form of old, or up to expiry and
 * perhaps the reserved one. The last field may only be empty where it may be absent.
 */
function isWholeShadow(rest: readonly string[]): boolean {
  if (rest.length === 3 || rest.length === 6) return rest.at(-1) !== '';
  return rest.length === 7 || (rest.length === 4 && rest[3]!.trim() === '');
}

function shadowEntry(fields: readonly string[]): ShadowEntry | undefined {
  const [name = '', secret = '', ...rest] = fields;
  const numbers = rest.map((field, index) => numberIn(index === 3 ? field.trimStart() : field));
  if (!isNisName(name) && (!isWholeShadow(rest) || numbers.some(Number.isNaN))) return undefined;
  const [changed, , maxDays, , , expires] = numbers;
  return { name: shown(name), secret, changed, maxDays, expires };
}

/** Entries of /etc/passwd, NIS lines among them. */
export function parsePasswd(bytes: Buffer): Entries<PasswdEntry> {
  return entriesOf(bytes, passwdEntry);
}

/** Entries of /etc/group, NIS lines among them. */
export function parseGroup(bytes: Buffer): Entries<GroupEntry> {
  return entriesOf(bytes, groupEntry);
}

/** Entries of /etc/shadow, NIS lines among them. */
export function parseShadow(bytes: Buffer): Entries<ShadowEntry> {
  return entriesOf(bytes, shadowEntry);
}

/** What the password field of passwd or shadow says; a hash behind `!` is locked, and still the same hash when unlocked. */
export function readSecret(field: string): Secret {
  if (field === '') return { state: 'none', hash: undefined };
  const rest = field.replace(/^!+/, '');
  const hash = rest === '' || rest === 'x' || rest.startsWith('*') ? undefined : rest;
  if (field.startsWith('!')) return { state: 'locked', hash };
  return { state: hash === undefined ? 'disabled' : 'set', hash };
}

/** Whether the password field of passwd sends its reader to shadow (`x`, or `##name` as pam_unix has it). */
export function isShadowed(field: string): boolean {
  return field === 'x' || field.startsWith('##');
}

/** A day counted from 1970-01-01 as `2026-11-24`; undefined for none, and for one beyond the year 9999. */
export function dayText(day: number | undefined): string | undefined {
  if (day === undefined || !(day <= LAST_DAY)) return undefined;
  return new Date(day * 86_400_000).toISOString().slice(0, 10);
}
