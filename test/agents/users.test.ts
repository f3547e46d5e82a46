import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import users from '../../agents/users.ts';
import type { BatchEvent } from '../../src/spool/batch.ts';
import { Bench } from '../helpers/bench.ts';
import { eventsBetween, RUN_TIME } from '../helpers/changes.ts';
import { collectItems } from '../helpers/sources.ts';
import { fixtures, tree } from '../helpers/tree.ts';
import { agentConformance } from '../suites/agent.ts';

const lab12 = (t: TestContext): string =>
  tree(t, {
    'etc/passwd': { from: 'accounts/lab12.passwd' },
    'etc/group': { from: 'accounts/lab12.group' },
    'etc/shadow': { from: 'accounts/lab12.shadow' },
  });
const evil = (t: TestContext): string =>
  tree(t, {
    'etc/passwd': { from: 'adversarial-accounts/passwd.evil' },
    'etc/group': { from: 'adversarial-accounts/group.evil' },
    'etc/shadow': { from: 'adversarial-accounts/shadow.evil' },
  });

agentConformance(users, { tree: lab12 });

const NOW = new Date('2026-11-24T10:00:00.000Z');

/** Fields of every item, by key. */
async function itemsOf(root: string) {
  const { got } = await collectItems(users, { root, now: NOW });
  return new Map(got.accounts!.map(({ key, fields }) => [key, fields]));
}

test('the accounts and groups of a real machine are told whole', async (t) => {
  const { got } = await collectItems(users, { root: lab12(t), now: NOW });
  const golden = readFileSync(join(fixtures, '../golden/users-lab12.json'), 'utf8');
  assert.deepEqual(JSON.parse(JSON.stringify(got.accounts)), JSON.parse(golden));
  assert.equal(got.accounts!.length, 27 + 49);
});

test('no hash leaves the machine: not from shadow, not from passwd, not from a line out of shape', async (t) => {
  for (const root of [lab12(t), evil(t)]) {
    const told = JSON.stringify([...(await itemsOf(root))]);
    for (const file of ['passwd', 'shadow']) {
      const text = readFileSync(join(root, 'etc', file), 'latin1');
      for (const [hash] of text.matchAll(/(?<=:!?)\$[^:$\n]+\$[^:\n]+|ab0123456789\./g))
        assert.ok(!told.includes(hash), hash);
    }
  }
});

test('each password state of a hostile shadow is told for its account', async (t) => {
  const names = ['root', 'nopw', 'locked', 'bang', 'bb', 'y', 'des', 'exp', 'zero', 'short', 'nobodyknows'];
  const passwd = names.map((name, n) => `${name}:x:${n}:0::/:/bin/sh\n`).join('');
  const shadow = { from: 'adversarial-accounts/shadow.evil' };
  const items = await itemsOf(tree(t, { 'etc/passwd': passwd, 'etc/shadow': shadow }));
  const state = (name: string) => {
    const { password, locked, password_digest, must_change, expired } = items.get(`user/${name}`)!;
    return [password, locked, password_digest !== undefined, must_change, expired];
  };
  assert.deepEqual(state('root'), ['disabled', false, false, false, false]);
  assert.deepEqual(state('nopw'), ['none', false, false, false, false]);
  assert.deepEqual(state('locked'), ['locked', true, true, false, false]);
  assert.deepEqual(state('bang'), ['locked', true, false, false, false]);
  assert.deepEqual(state('bb'), ['locked', true, false, false, false]);
  assert.deepEqual(state('y'), ['set', false, true, false, false]);
  assert.deepEqual(state('des'), ['set', false, true, false, false]);
  assert.deepEqual(state('exp'), ['disabled', false, false, false, true]);
  assert.deepEqual(state('zero'), ['disabled', false, false, true, false]);
  assert.deepEqual(state('short'), ['disabled', false, false, undefined, undefined]);
  assert.deepEqual(state('nobodyknows'), ['disabled', false, false, undefined, undefined]);
});

test('a second entry of a name and a second superuser are told; a name made like a key of another blinds nobody', async (t) => {
  const passwd = 'a:x:0:0::/:/bin/sh\na:x:0:0::/b:/bin/sh\na#2:x:7:0::/:/bin/sh\n+:::::/etc/NoShell:\n';
  const items = await itemsOf(tree(t, { 'etc/passwd': passwd }));
  assert.deepEqual([...items.keys()], ['user/a', 'user/a#2', 'user/a#2#2', 'nis/passwd/+']);
  assert.equal(items.get('user/a#2')?.superuser, true);
  assert.equal(items.get('user/a#2#2')?.name, 'a#2');
});

test('two names that an item key cannot hold in full stay two items', async (t) => {
  const long = 'n'.repeat(600);
  const items = await itemsOf(tree(t, { 'etc/passwd': `${long}a:x:1:1::/:\n${long}b:x:2:2::/:\n` }));
  assert.deepEqual(
    Array.from(items.values(), ({ uid }) => uid),
    [1, 2],
  );
  assert.ok([...items.keys()].every((key) => key.length <= 512));
});

test('a group of 12,000 members on one line is read in a moment', async (t) => {
  const started = performance.now();
  const items = await itemsOf(evil(t));
  assert.equal(items.get('group/big')?.other_members?.length, 12_000);
  assert.ok(performance.now() - started < 5000, 'it took over 5 s');
});

test('groups of a user come from every line of a group, without the primary one', async (t) => {
  const items = await itemsOf(
    tree(t, {
      'etc/passwd': 'a:x:1:10::/:/bin/sh\nb:x:2:99::/:/sbin/nologin\n',
      'etc/group': 'own:x:10:a\nwheel:x:11:b,a,gone\ndup:x:12:b\ndup:x:12:a\n+:::\n',
    }),
  );
  const { group, groups, login } = items.get('user/a')!;
  assert.deepEqual([group, groups, login], ['own', ['dup', 'wheel'], true]);
  assert.deepEqual([items.get('user/b')?.group, items.get('user/b')?.login], [undefined, false]);
  assert.deepEqual(items.get('group/wheel')?.other_members, ['gone']);
  assert.ok(items.has('nis/group/+'));
});

for (const [file, content] of [
  ['passwd', ''],
  ['passwd', 'root:x:0\n'],
  ['group', ''],
  ['shadow', '\n'],
] as const) {
  test(`${file} with ${JSON.stringify(content)} in it fails the source: no account looks removed`, async (t) => {
    const bench = new Bench(t);
    bench.rootfs = lab12(t);
    await bench.run(users);
    const before = bench.batches('users').length;
    writeFileSync(join(bench.rootfs, 'etc', file), content);
    bench.later(3_600_000);
    const { outcome, sources } = await bench.run(users);
    assert.equal(outcome, 'failed');
    assert.match(sources[0]?.reason ?? '', new RegExp(`^/etc/${file}: no entry in it`));
    assert.equal(bench.batches('users').length, before);
  });
}

test('without a shadow that may be read, nothing is said about passwords, and the rest is told', async (t) => {
  if (process.getuid?.() !== 0)
    return t.skip('left out: not root, so that nobody can be asked to read instead');
  const root = lab12(t);
  execFileSync('chmod', ['-R', 'go+rX', root]);
  execFileSync('chmod', ['600', join(root, 'etc/shadow')]);
  process.seteuid!('nobody');
  t.after(() => process.seteuid!(0));
  const items = await itemsOf(root);
  process.seteuid!(0);
  const { uid, password, locked, expired } = items.get('user/dave')!;
  assert.deepEqual([uid, password, locked, expired], [1003, undefined, undefined, undefined]);
});

/** Events of the accounts that differ between two lots of files. */
async function changes(t: TestContext, before: Files, after: Files): Promise<BatchEvent[]> {
  const [was, is] = await Promise.all([before, after].map((files) => laidOut(t, files)));
  return eventsBetween(users, 'accounts', was!, is!);
}

interface Files {
  readonly passwd?: string;
  readonly group?: string;
  readonly shadow?: string;
}

async function laidOut(t: TestContext, { passwd, group, shadow }: Files) {
  const root = tree(t, {
    'etc/passwd': passwd ?? 'a:x:1000:1000::/home/a:/bin/sh\n',
    'etc/group': group ?? 'a:x:1000:\nsudo:x:27:\nops:x:28:a\n',
    'etc/shadow': shadow ?? 'a:$6$s$one:20000:0:99999:7:::\n',
  });
  return (await collectItems(users, { root, now: NOW })).got.accounts!;
}

const shadow = (secret: string, rest = '20000:0:99999:7:::'): Files => ({ shadow: `a:${secret}:${rest}\n` });

for (const [what, before, after, actions] of [
  ['passwd', shadow('$6$s$one'), shadow('$6$s$two', '20100:0:99999:7:::'), ['password-changed']],
  ['passwd -l', shadow('$6$s$one'), shadow('!$6$s$one'), ['locked']],
  ['passwd -u', shadow('!$6$s$one'), shadow('$6$s$one'), ['unlocked']],
  ['a first password', shadow('!'), shadow('$6$s$one', '20100:0:99999:7:::'), ['password-changed']],
  ['passwd -d', shadow('$6$s$one'), shadow(''), ['password-changed']],
  ['usermod -p "!"', shadow('$6$s$one'), shadow('!'), ['locked']],
  [
    'a new password behind a new lock',
    shadow('$6$s$one'),
    shadow('!$6$s$two'),
    ['password-changed', 'locked'],
  ],
  ['chage -E in the past', {}, shadow('$6$s$one', '20000:0:99999:7::18262:'), ['expired']],
  ['chage -E in the future', {}, shadow('$6$s$one', '20000:0:99999:7::40000:'), ['changed']],
  ['chage -d 0', {}, shadow('$6$s$one', '0:0:99999:7:::'), ['changed']],
  ['usermod -s', {}, { passwd: 'a:x:1000:1000::/home/a:/bin/zsh\n' }, ['shell-changed']],
  ['usermod -u 0', {}, { passwd: 'a:x:0:1000::/home/a:/bin/sh\n' }, ['uid-changed']],
  ['usermod -c', {}, { passwd: 'a:x:1000:1000:A:/home/a:/bin/sh\n' }, ['changed']],
  ['usermod -aG', {}, { group: 'a:x:1000:\nsudo:x:27:a\nops:x:28:a\n' }, ['joined']],
  ['gpasswd -d', {}, { group: 'a:x:1000:\nsudo:x:27:\nops:x:28:\n' }, ['left']],
  ['usermod -G', {}, { group: 'a:x:1000:\nsudo:x:27:a\nops:x:28:\n' }, ['groups-changed']],
  ['a member from elsewhere', {}, { group: 'a:x:1000:\nsudo:x:27:ldap\nops:x:28:a\n' }, ['members-changed']],
  ['groupadd', {}, { group: 'a:x:1000:\nsudo:x:27:\nops:x:28:a\nnew:x:29:\n' }, ['added']],
] as const satisfies readonly (readonly [string, Files, Files, readonly string[]])[]) {
  test(`${what} is told once, as ${actions.join(' and ')}`, async (t) => {
    const events = await changes(t, before, after);
    assert.deepEqual(
      events.map(({ action }) => action),
      actions,
    );
  });
}

test('an account that expires by its date alone is told on that day', async (t) => {
  const root = tree(t, {
    'etc/passwd': 'a:x:1000:1000::/:/bin/sh\n',
    'etc/shadow': 'a:*:20000:0:99999:7::20782:\n',
  });
  const [was, is] = await Promise.all(
    ['2026-11-24T23:59:59.999Z', '2026-11-25T00:00:00.000Z'].map(
      async (now) => (await collectItems(users, { root, now: new Date(now) })).got.accounts!,
    ),
  );
  const [event] = eventsBetween(users, 'accounts', was!, is!);
  assert.deepEqual([event?.action, event?.after?.expires, event?.time], ['expired', '2026-11-25', RUN_TIME]);
});

/** Why the account tools cannot be tried here, or undefined. */
function noTools(): string | undefined {
  if (process.getuid?.() !== 0) return 'not root';
  const missing = ['useradd', 'usermod', 'passwd', 'userdel', 'gpasswd'].filter(
    (name) => spawnSync('which', [name]).status !== 0,
  );
  return missing.length > 0 ? `no ${missing.join(', ')}` : undefined;
}

test('what useradd, passwd, usermod and userdel do on this machine is told as what they did', async (t) => {
  const reason = noTools();
  if (reason !== undefined) return t.skip(`left out: ${reason}`);
  const name = `dsac-test-${process.pid}`;
  t.after(() => {
    spawnSync('userdel', [name]);
    spawnSync('groupdel', [name]);
  });
  const bench = new Bench(t);
  let seen = 0;
  /** Runs a command, then tells what happened to the test's own account and group. */
  const after = async (command: string, ...args: string[]): Promise<string[]> => {
    execFileSync(command, args, { stdio: 'ignore' });
    bench.later(3_600_000);
    await bench.run(users);
    const events = bench.events('users').slice(seen);
    seen += events.length;
    return events
      .filter(({ item }) => item?.endsWith(`/${name}`))
      .map(({ item, action }) => `${item?.split('/')[0]} ${action}`);
  };
  assert.deepEqual(await after('true'), []);
  assert.deepEqual(await after('useradd', '-U', '-s', '/bin/sh', name), ['user added', 'group added']);
  assert.deepEqual(await after('usermod', '-p', '$6$toy$hash', name), ['user password-changed']);
  assert.deepEqual(await after('passwd', '-l', name), ['user locked']);
  assert.deepEqual(await after('passwd', '-u', name), ['user unlocked']);
  assert.deepEqual(await after('usermod', '-aG', 'daemon', name), ['user joined']);
  assert.deepEqual(await after('gpasswd', '-d', name, 'daemon'), ['user left']);
  assert.deepEqual(await after('usermod', '-s', '/usr/sbin/nologin', name), ['user shell-changed']);
  assert.deepEqual(await after('userdel', name), ['user removed', 'group removed']);
});
