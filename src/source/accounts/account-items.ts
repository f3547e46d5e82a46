/** Joins passwd, group and shadow into one item per account, group and NIS line. Pure. */

import { keyText } from '../../host/text.ts';
import {
  dayText,
  type GroupEntry,
  isNisName,
  isShadowed,
  type PasswdEntry,
  readSecret,
  type Secret,
  type ShadowEntry,
} from './accounts.ts';

/** The shells that turn a person away. */
const NO_LOGIN = /\/(?:nologin|false)$/;
/** shadow-utils writes this for "never". */
const NEVER_DAYS = 99_999;
const DAY_MS = 86_400_000;
/** Room in an item key for the number of a second entry. */
const KEY_ROOM = 500;

/** What the three files hold. `shadow` is undefined where there is none or it may not be read. */
export interface AccountFiles {
  readonly passwd: readonly PasswdEntry[];
  readonly group: readonly GroupEntry[];
  readonly shadow: readonly ShadowEntry[] | undefined;
}

/** What it takes to describe an account: today, and how to make a digest of a hash. */
export interface AccountView {
  readonly now: Date;
  digest(secret: string): string;
}

/** Entries by name; the first of a name counts, as for every program that looks one up. */
function firstByName<T extends { readonly name: string }>(entries: readonly T[]): Map<string, T> {
  const byName = new Map<string, T>();
  for (const entry of entries) if (!byName.has(entry.name)) byName.set(entry.name, entry);
  return byName;
}

/** Names of the groups that list each member. Every line of a group counts, as initgroups(3) reads them all. */
function groupsByMember(groups: readonly GroupEntry[]): Map<string, Set<string>> {
  const byMember = new Map<string, Set<string>>();
  for (const { name, members } of groups) {
    for (const member of members) {
      const names = byMember.get(member);
      if (names) names.add(name);
      else byMember.set(member, new Set([name]));
    }
  }
  return byMember;
}

/** What stands for the account's password, or undefined when only shadow knows and shadow is not there to ask. */
function secretOf(
  user: PasswdEntry,
  shadow: ReadonlyMap<string, ShadowEntry> | undefined,
): Secret | undefined {
  if (!isShadowed(user.secret)) return readSecret(user.secret);
  if (shadow === undefined) return undefined;
  const entry = shadow.get(user.name);
  return entry === undefined ? { state: 'disabled', hash: undefined } : readSecret(entry.secret);
}

function passwordFields(secret: Secret | undefined, view: AccountView) {
  if (secret === undefined) return {};
  return {
    password: secret.state,
    locked: secret.state === 'locked',
    password_digest: secret.hash === undefined ? undefined : view.digest(secret.hash),
  };
}

/** When the next day begins, in UTC as shadow counts days. */
export function nextDay(now: Date): Date {
  return new Date((Math.floor(now.getTime() / DAY_MS) + 1) * DAY_MS);
}

/** What shadow says beside the password. An account expires at the start of its day, as PAM has it. */
function agingFields({ changed, maxDays, expires }: ShadowEntry, now: Date) {
  return {
    password_changed: changed === 0 ? undefined : dayText(changed),
    must_change: changed === 0,
    password_max_days: maxDays === undefined || maxDays >= NEVER_DAYS ? undefined : maxDays,
    expires: dayText(expires),
    expired: expires !== undefined && expires * DAY_MS <= now.getTime(),
  };
}

function* userItems({ passwd, group, shadow }: AccountFiles, view: AccountView) {
  const shadowed = shadow && firstByName(shadow);
  const memberOf = groupsByMember(group);
  const groupName = new Map(group.toReversed().map(({ gid, name }) => [gid, name]));
  for (const user of passwd) {
    const { name, uid, gid, gecos, home, shell } = user;
    const primary = groupName.get(gid);
    const aging = shadowed?.get(name);
    const fields = {
      kind: 'user' as const,
      name,
      uid,
      gid,
      group: primary,
      groups: [...(memberOf.get(name) ?? [])].filter((other) => other !== primary).sort(),
      gecos,
      home,
      shell,
      login: !NO_LOGIN.test(shell),
      superuser: uid === 0,
      ...passwordFields(secretOf(user, shadowed), view),
      ...(aging && agingFields(aging, view.now)),
    };
    yield { key: `user/${name}`, fields };
  }
}

function* groupItems(group: readonly GroupEntry[], accounts: ReadonlySet<string>) {
  for (const { name, gid, members } of group) {
    const others = members.filter((member) => !accounts.has(member));
    yield { key: `group/${name}`, fields: { kind: 'group' as const, name, gid, other_members: others } };
  }
}

function* nisItems({ passwd, group }: AccountFiles) {
  for (const { name, uid, gid, home, shell } of passwd) {
    if (isNisName(name))
      yield { key: `nis/passwd/${name}`, fields: { kind: 'nis' as const, name, uid, gid, home, shell } };
  }
  for (const { name, gid } of group) {
    if (isNisName(name)) yield { key: `nis/group/${name}`, fields: { kind: 'nis' as const, name, gid } };
  }
}

/** Makes keys unique in the order of the files: the second `user/dup` is `user/dup#2`. */
function uniqueKeys(): (wanted: string) => string {
  const taken = new Set<string>();
  return (wanted) => {
    const first = keyText(wanted);
    let key = first;
    for (let count = 2; taken.has(key); count++) key = `${first.slice(0, KEY_ROOM)}#${count}`;
    taken.add(key);
    return key;
  };
}

/** One item per account, group and NIS line, each with a key of its own. */
export function* accountItems(files: AccountFiles, view: AccountView) {
  const unique = uniqueKeys();
  const own = {
    ...files,
    passwd: files.passwd.filter(({ name }) => !isNisName(name)),
    group: files.group.filter(({ name }) => !isNisName(name)),
  };
  const accounts = new Set(own.passwd.map(({ name }) => name));
  for (const { key, fields } of userItems(own, view)) yield { key: unique(key), fields };
  for (const { key, fields } of groupItems(own.group, accounts)) yield { key: unique(key), fields };
  for (const { key, fields } of nisItems(files)) yield { key: unique(key), fields };
}
