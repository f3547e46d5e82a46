/**
 * Accounts and groups of this machine, from its own passwd, group and shadow. Accounts that NSS brings from elsewhere (LDAP, SSSD,
 * NIS) are not asked for; the lines that let NIS bring them in are items `nis/…`.
 *
 * Who is in a group is told once, by the account (`groups`); a group lists only members that have no account here. A second entry
 * of the same name, which no program looks at but which a person should, has the key `user/name#2`.
 * Without permission to read shadow its fields are left out: run an agent always as root, or never.
 */
import * as z from 'zod';
import { stamp } from '../src/host/stamp.ts';
import { absent, type Change, defineInventory, type Step } from '../src/plugin/agent.ts';
import { ACCOUNT_FILES, readAccountFiles } from '../src/source/accounts/account-files.ts';
import { accountItems, nextDay } from '../src/source/accounts/account-items.ts';

const fields = z.object({
  kind: z.enum(['user', 'group', 'nis']).describe('what it is; nis: a + or - line of passwd or group'),
  name: z.string().describe('account or group name'),
  uid: z.number().optional().describe('numeric user id'),
  gid: z.number().optional().describe("numeric id of the group, or of the user's primary group"),
  group: z.string().optional().describe('name of the primary group, where group has one'),
  groups: z.array(z.string()).optional().describe('names of the other groups the user is in, sorted'),
  gecos: z.string().optional().describe('full name and other comment'),
  home: z.string().optional().describe('home directory'),
  shell: z.string().optional().describe('login shell; empty means /bin/sh'),
  login: z.boolean().optional().describe('the shell lets a person in: it is not nologin or false'),
  superuser: z.boolean().optional().describe('user id 0: may do everything'),
  password: z
    .enum(['none', 'set', 'locked', 'disabled'])
    .optional()
    .describe('none: logs in without one; locked: starts with !; disabled: no password can match'),
  locked: z.boolean().optional().describe('the password is locked (passwd -l, usermod -L)'),
  password_digest: z
    .string()
    .optional()
    .describe('keyed digest of the hash: shows that it changed, not what it is'),
  password_changed: z.string().optional().describe('day of the last password change, UTC date'),
  password_max_days: z.number().optional().describe('days after which the password must be changed'),
  must_change: z.boolean().optional().describe('the password must be changed at the next login'),
  expires: z.string().optional().describe('day on which the account expires, UTC date'),
  expired: z.boolean().optional().describe('the account has expired'),
  other_members: z
    .array(z.string())
    .optional()
    .describe('members of the group without an account here, sorted'),
});
type AccountFields = z.infer<typeof fields>;

type Both = Change<AccountFields> & { readonly before: AccountFields; readonly after: AccountFields };
type Field = keyof AccountFields;

/** The step that changes these fields; none when they are the same. */
function step({ before, after }: Both, action: string, named: readonly Field[]): Step<AccountFields>[] {
  const differs = named.some((field) => JSON.stringify(before[field]) !== JSON.stringify(after[field]));
  return differs ? [{ action, fields: named }] : [];
}

/** Whether the account has a password that it did not have before, or none any more. A lock keeps the hash, and so its digest. */
function hasNewPassword({ before, after }: Both): boolean {
  if (after.password === 'none') return before.password !== 'none';
  return after.password_digest !== undefined && after.password_digest !== before.password_digest;
}

function passwordSteps(change: Both): Step<AccountFields>[] {
  const { before, after } = change;
  if (before.password === undefined || after.password === undefined) return [];
  const lock = after.locked ? 'locked' : before.locked ? 'unlocked' : 'password-changed';
  if (!hasNewPassword(change)) return step(change, lock, ['password', 'locked', 'password_digest']);
  const news: Field[] = ['password_digest', 'password_changed', 'must_change'];
  // an account is born locked without a hash: its first password unlocks it, and that is one change
  const isOne = lock !== 'locked' && (lock !== 'unlocked' || before.password_digest === undefined);
  if (isOne) return [{ action: 'password-changed', fields: [...news, 'password', 'locked'] }];
  return [{ action: 'password-changed', fields: news }, ...step(change, lock, ['password', 'locked'])];
}

function groupSteps(change: Both): Step<AccountFields>[] {
  const before = change.before.groups ?? [];
  const after = change.after.groups ?? [];
  const joined = after.some((group) => !before.includes(group));
  const left = before.some((group) => !after.includes(group));
  return step(change, joined && left ? 'groups-changed' : joined ? 'joined' : 'left', ['groups']);
}

function describeChange(change: Both): Step<AccountFields>[] {
  const steps = [
    ...step(change, 'uid-changed', ['uid', 'superuser']),
    ...passwordSteps(change),
    ...(change.after.expired && !change.before.expired
      ? [{ action: 'expired', fields: ['expired', 'expires'] as const }]
      : []),
    ...step(change, 'shell-changed', ['shell', 'login']),
    ...groupSteps(change),
    ...step(change, 'members-changed', ['other_members']),
  ];
  const told = new Set(steps.flatMap((one) => one.fields ?? []));
  const rest = (Object.keys(fields.shape) as Field[]).filter((field) => !told.has(field));
  return [...steps, ...step(change, 'changed', rest)];
}

export default defineInventory({
  name: 'users',
  summary: 'accounts, groups and their members, locked or expired, password changed',
  every: '1h',
  options: z.strictObject({}),
  fields,
  actions: {
    added: 'a new account, group or NIS line',
    removed: 'an account, group or NIS line is gone',
    'uid-changed': 'the account has another user id',
    'password-changed': 'the account has another password, or none any more',
    locked: 'the password was locked',
    unlocked: 'the password was unlocked',
    expired: 'the account has expired; by its date alone, too',
    'shell-changed': 'the account has another login shell',
    joined: 'the account is in more groups',
    left: 'the account is in fewer groups',
    'groups-changed': 'the account is in other groups: some more, some fewer',
    'members-changed': 'the group lists other members without an account here',
    changed: 'something else about it changed',
  },
  describe(change) {
    if (change.before === undefined) return { action: 'added' };
    if (change.after === undefined) return { action: 'removed' };
    return describeChange(change);
  },
  sources: {
    async *accounts(context) {
      // An account expires at the start of its day.
      context.restsOn(await stamp(context.system, ACCOUNT_FILES), nextDay(context.now));
      const files = await readAccountFiles(context);
      if (files === undefined) return absent('no /etc/passwd');
      yield* accountItems(files, context);
    },
  },
});
