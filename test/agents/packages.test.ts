import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type TestContext, test } from 'node:test';
import packages from '../../agents/packages.ts';
import type { PackageFields } from '../../src/source/packages/package.ts';
import { canonical } from '../../src/spool/canonical.ts';
import { Bench } from '../helpers/bench.ts';
import { collectItems } from '../helpers/sources.ts';
import { fixtures, sharedFixture, temporary, tree } from '../helpers/tree.ts';
import { agentConformance } from '../suites/agent.ts';

const apkDatabase = { 'lib/apk/db/installed': { from: 'apk/synthetic.installed' } };

agentConformance(packages, {
  tree: (t) => tree(t, { ...apkDatabase, 'var/lib/pacman/local': { from: 'pacman/lab-alpha-local' } }),
});

const PATH = process.env.PATH;

/** Puts an executable in front of the real one in PATH until the test ends. */
function fake(t: TestContext, command: string, script: string): void {
  const folder = temporary(t);
  writeFileSync(join(folder, command), `#!/bin/sh\n${script}\n`);
  chmodSync(join(folder, command), 0o755);
  process.env.PATH = `${folder}:${PATH}`;
  t.after(() => {
    process.env.PATH = PATH;
  });
}

/** Whether the command is installed; says on the test's output that it was left out when not. */
function installed(t: TestContext, command: string): boolean {
  const there = spawnSync(command, ['--version']).error === undefined;
  if (!there) t.skip(`left out: no ${command} here`);
  return there;
}

async function itemsOf(root: string, source: string): Promise<Map<string, PackageFields>> {
  const { got, absent } = await collectItems(packages, { root });
  assert.ok(got[source], `${source} is absent: ${absent[source]}`);
  return new Map(got[source].map(({ key, fields }) => [key, fields]));
}

async function failure(root: string): Promise<string> {
  const error = await collectItems(packages, { root }).then(
    ({ got }) => assert.fail(`it was read: ${JSON.stringify(got).slice(0, 200)}`),
    (error: Error) => error,
  );
  return error.message;
}

async function absence(root: string, source: string): Promise<string> {
  const { got, absent } = await collectItems(packages, { root });
  assert.equal(got[source], undefined);
  return absent[source]!;
}

/** The inventory as canonical lines, to compare with test/golden. */
function lines(items: Iterable<[string, PackageFields]>): string {
  return `${Array.from(items, ([key, fields]) => `${key}\t${canonical(fields)}`)
    .sort()
    .join('\n')}\n`;
}

function golden(name: string): string {
  return readFileSync(new URL(`../golden/${name}`, import.meta.url), 'utf8');
}

/** The tree with a dpkg database, whole or only its status file. */
function dpkgTree(t: TestContext, from: string): string {
  return tree(t, {
    'var/lib/dpkg/updates/.keep': '',
    [`var/lib/dpkg${from.endsWith('.status') ? '/status' : ''}`]: { from },
  });
}

const SHOW = ['Package', 'Architecture', 'Version', 'db:Status-Status']
  .map((field) => `\${${field}}`)
  .join('\\t');

test('dpkg: this machine’s inventory equals dpkg-query row for row', async (t) => {
  if (!installed(t, 'dpkg-query')) return;
  const shown = spawnSync('dpkg-query', ['-W', '-f', `${SHOW}\\n`], { encoding: 'utf8', maxBuffer: 1 << 28 });
  const expected = shown.stdout.trimEnd().split('\n').sort();
  const rows = Array.from(await itemsOf('/', 'dpkg'), ([key, { version, status }]) =>
    [...key.split('/').slice(1), version ?? '', status].join('\t'),
  ).sort();
  assert.deepEqual(rows, expected);
});

test('dpkg: every state of a real machine is kept, removed packages with their configuration too', async (t) => {
  if (!installed(t, 'dpkg-query')) return;
  const items = await itemsOf(dpkgTree(t, 'dpkg/lab12.status'), 'dpkg');
  assert.equal(items.size, 198);
  const states: Record<string, number> = {};
  for (const { want, status, reinst_required } of items.values()) {
    const state = `${want} ${status}${reinst_required ? ' reinst-required' : ''}`;
    states[state] = (states[state] ?? 0) + 1;
  }
  assert.deepEqual(states, {
    'install installed': 185,
    'purge config-files': 1,
    'deinstall config-files': 4,
    'deinstall installed': 1,
    'install half-configured': 1,
    'install half-installed reinst-required': 1,
    'hold installed': 1,
    'install triggers-awaited': 1,
    'install triggers-pending': 1,
    'install unpacked': 1,
    'purge installed': 1,
  });
  assert.equal(items.get('dpkg/dsac-plain/all')?.version, '2:0.9~rc1+git20240101-1');
  const both = [...items.keys()].filter((key) => key.endsWith('/i386'));
  for (const key of both) assert.ok(!key.includes(':'), key);
  assert.ok(both.length >= 2, 'packages of a second architecture have keys of their own');
});

test('dpkg: hostile bytes in a description stay in its summary', async (t) => {
  if (!installed(t, 'dpkg-query')) return;
  const items = await itemsOf(dpkgTree(t, 'dpkg/lab12.status'), 'dpkg');
  assert.match(items.get('dpkg/dsac-latin1/all')?.summary ?? '', /\\x[0-9a-f]{2}/);
  assert.ok(items.get('dpkg/dsac-esc/all')?.summary?.includes('\x1b'));
});

test('dpkg: what is not yet merged into status counts', async (t) => {
  if (!installed(t, 'dpkg-query')) return;
  const items = await itemsOf(dpkgTree(t, 'dpkg/journal-snap-lab12'), 'dpkg');
  assert.equal(items.size, 198);
  assert.equal(items.get('dpkg/dsac-journal/all')?.status, 'half-configured');
});

test('dpkg: a database that dpkg-query refuses fails with dpkg-query’s own words', async (t) => {
  if (!installed(t, 'dpkg-query')) return;
  const broken = 'Package: a\nStatus: install ok installed\nVersion: v1\nMaintainer: M\nDescription: d\n\n';
  const root = tree(t, { 'var/lib/dpkg/status': `${broken}nonsense without colon\n` });
  assert.match(await failure(root), /dpkg-query .*exit 2: dpkg-query: error: /s);
});

const TWO_PACKAGES = ['a', 'b']
  .map((name) => `P:${name}\\nA:all\\nV:1\\nS:install ok installed\\n\\n`)
  .join('');

test('dpkg: a dpkg-query that dies midway fails; what it had printed is no inventory', async (t) => {
  const root = tree(t, { 'var/lib/dpkg/status': '' });
  fake(t, 'dpkg-query', `printf '${TWO_PACKAGES}'; kill -9 $$`);
  assert.match(await failure(root), /dpkg-query .*killed by SIGKILL/);
});

test('dpkg: an output cut in the middle fails though dpkg-query exits 0', async (t) => {
  const root = tree(t, { 'var/lib/dpkg/status': '' });
  fake(t, 'dpkg-query', `printf '${TWO_PACKAGES.slice(0, -14)}'`);
  assert.match(await failure(root), /dpkg-query: it was cut/);
});

test('dpkg: an error on stderr fails though dpkg-query exits 0; a warning does not', async (t) => {
  const root = tree(t, { 'var/lib/dpkg/status': '' });
  fake(t, 'dpkg-query', `printf '${TWO_PACKAGES}'; echo 'dpkg-query: warning: odd' >&2`);
  assert.equal((await itemsOf(root, 'dpkg')).size, 2);
  fake(t, 'dpkg-query', `printf '${TWO_PACKAGES}'; echo 'dpkg-query: error: disk' >&2`);
  assert.match(await failure(root), /dpkg-query: error: disk/);
});

test('dpkg: a status file that is a link is not followed out of the tree', async (t) => {
  if (!installed(t, 'dpkg-query')) return;
  const root = tree(t, { 'elsewhere/status': '' });
  mkdirSync(join(root, 'var/lib/dpkg'), { recursive: true });
  symlinkSync('/elsewhere/status', join(root, 'var/lib/dpkg/status'));
  assert.match(await failure(root), /dpkg\/status: a symbolic link to .*elsewhere\/status/);
});

test('an empty database is absent: no packages were removed', async (t) => {
  const root = tree(t, {
    'var/lib/dpkg/status': '',
    'lib/apk/db/installed': '',
    'var/lib/pacman/local/ALPM_DB_VERSION': '9\n',
  });
  fake(t, 'dpkg-query', '');
  for (const source of ['dpkg', 'apk', 'pacman'])
    assert.match(await absence(root, source), /database holds no packages/);
});

const alphaSqlite = join(fixtures, 'rpm/lab-alpha-sqlite');

function rpmTree(t: TestContext, from = alphaSqlite): string {
  return tree(t, { 'var/lib/rpm': { from } });
}

test('rpm: a real database with two kernels, two architectures and bad bytes', async (t) => {
  if (!installed(t, 'rpm')) return;
  const root = rpmTree(t);
  const items = await itemsOf(root, 'rpm');
  assert.equal(lines(items), golden('packages-rpm-lab-alpha.tsv'));
  assert.deepEqual(readdirSync(join(root, 'var/lib/rpm')), ['rpmdb.sqlite'], 'rpm wrote into the tree');
});

test('rpm: a damaged header fails, though rpm only skips it and exits 0', async (t) => {
  if (!installed(t, 'rpm')) return;
  const root = rpmTree(t);
  const database = new DatabaseSync(join(root, 'var/lib/rpm/rpmdb.sqlite'));
  const { blob } = database.prepare('SELECT blob FROM Packages WHERE hnum = 6').get() as { blob: Uint8Array };
  blob[2] = 0xff;
  database.prepare('UPDATE Packages SET blob = ? WHERE hnum = 6').run(blob);
  database.close();
  assert.match(await failure(root), /rpm .*error: rpmdbNextIterator: skipping h# +6 /);
});

for (const [name, file] of [
  ['ndb', 'rpm/osq-ndb'],
  ['Berkeley DB', 'rpm/el6-bdb'],
] as const) {
  test(`rpm: a real database in the ${name} format is read whole or fails, never read as empty`, async (t) => {
    const from = sharedFixture(t, file);
    if (from === undefined || !installed(t, 'rpm')) return;
    const root = rpmTree(t, from);
    const count = await itemsOf(root, 'rpm').then(
      (items) => items.size,
      (error: Error) => error.message,
    );
    if (count !== 3) assert.match(String(count), /rpm found no package in Packages.*may not support/);
  });
}

test('rpm: no rows from a database of a format rpm lacks fails, though it exits 0', async (t) => {
  const root = tree(t, { 'usr/lib/sysimage/rpm/Packages.db': 'RpmP' });
  fake(t, 'rpm', "echo 'warning: Found ndb Packages.db database while attempting sqlite backend' >&2");
  assert.match(await failure(root), /found no package in Packages\.db and said: warning: Found ndb/);
});

test('rpm: no rows from a database that has some fails; from one that has none it is absent', async (t) => {
  fake(t, 'rpm', '');
  assert.match(await failure(rpmTree(t)), /rpm found no package in rpmdb\.sqlite and said nothing/);
  const root = tree(t, { 'var/lib/rpm/.keep': '' });
  const database = new DatabaseSync(join(root, 'var/lib/rpm/rpmdb.sqlite'));
  database.exec('CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)');
  database.close();
  assert.match(await absence(root, 'rpm'), /the rpm database holds no packages/);
});

test('rpm: a directory without a database, as Debian’s rpm leaves it, is absent', async (t) => {
  fake(t, 'rpm', 'echo never reached >&2; exit 1');
  assert.match(await absence(tree(t, { 'var/lib/rpm/.keep': '' }), 'rpm'), /no rpm database in /);
});

test('pacman: a real local database', async (t) => {
  const root = tree(t, { 'var/lib/pacman/local': { from: 'pacman/lab-alpha-local' } });
  assert.equal(lines(await itemsOf(root, 'pacman')), golden('packages-pacman-lab-alpha.tsv'));
});

test('apk: either place of the database', async (t) => {
  const expected = ['apk/busybox/x86_64', 'apk/half-done/noarch', 'apk/ssl_client/x86_64'];
  for (const folder of ['lib', 'usr/lib']) {
    const root = tree(t, { [`${folder}/apk/db/installed`]: { from: 'apk/synthetic.installed' } });
    assert.deepEqual([...(await itemsOf(root, 'apk')).keys()].sort(), expected);
  }
});

type Given = Partial<PackageFields> | undefined;

/** The actions between two states of a dpkg package. */
function actions(before: Given, after: Given, source = 'dpkg'): string[] {
  const item = (given: Given) => given && { version: '1.0', status: 'installed', want: 'install', ...given };
  const change = { key: `${source}/a/all`, source, before: item(before), after: item(after) };
  return [packages.describe(change as Parameters<typeof packages.describe>[0])]
    .flat()
    .map(({ action }) => action);
}

const CONFIG = { status: 'config-files', want: 'deinstall' };

test('names each change in the words of package managers', () => {
  assert.deepEqual(actions(undefined, {}), ['installed']);
  assert.deepEqual(actions(undefined, { status: 'unpacked' }), ['installed']);
  assert.deepEqual(actions({ version: '1.0~rc1' }, {}), ['upgraded']);
  assert.deepEqual(actions({ version: '1:0.1' }, {}), ['downgraded']);
  assert.deepEqual(actions({ version: '1.0rc' }, {}, 'pacman'), ['upgraded']);
  assert.deepEqual(actions({ version: '1.00' }, {}), ['changed']);
  assert.deepEqual(actions({ status: 'half-configured' }, {}), ['status-changed']);
  assert.deepEqual(actions({}, { reinst_required: true }), ['status-changed']);
  assert.deepEqual(actions({}, { want: 'deinstall' }), ['status-changed']);
  assert.deepEqual(actions({}, { maintainer: 'other' }), ['changed']);
  const [then, now] = ['2026-11-23T03:01:20.000Z', '2026-11-24T03:01:20.000Z'];
  assert.deepEqual(actions({ installed: then }, { installed: now }), ['reinstalled']);
  assert.deepEqual(actions({}, { installed: now }), ['changed'], 'a time that became known');
});

test('a removal that keeps the configuration is removed, and its end purged', () => {
  assert.deepEqual(actions({}, CONFIG), ['removed']);
  assert.deepEqual(actions(CONFIG, undefined), ['purged']);
  assert.deepEqual(actions({}, undefined), ['removed']);
  assert.deepEqual(actions(CONFIG, {}), ['installed']);
  assert.deepEqual(actions(CONFIG, { version: '2.0' }), ['installed']);
  assert.deepEqual(actions(CONFIG, { ...CONFIG, want: 'purge' }), ['status-changed']);
  assert.deepEqual(actions(undefined, CONFIG), ['removed'], 'came and went between two runs');
});

test('a hold is lifted before the upgrade and set after it', () => {
  assert.deepEqual(actions({}, { want: 'hold' }), ['held']);
  assert.deepEqual(actions({ want: 'hold' }, {}), ['unheld']);
  assert.deepEqual(actions({ want: 'hold' }, { version: '2.0' }), ['unheld', 'upgraded']);
  assert.deepEqual(actions({}, { version: '2.0', want: 'hold' }), ['upgraded', 'held']);
});

/** One stanza of a dpkg status file. */
function stanza(name: string, version: string, status: string): string {
  return `Package: ${name}\nStatus: ${status}\nInstalled-Size: 10\nMaintainer: M <m@example.invalid>\nArchitecture: all\nVersion: ${version}\nDescription: d\n\n`;
}

/** Runs the agent once per state of the machine, an hour apart, and answers each run's outcome and what it told. */
async function runs<S>(bench: Bench, states: readonly S[], become: (state: S) => void): Promise<string[][]> {
  const told: string[][] = [];
  let seen = 0;
  for (const state of states) {
    become(state);
    const { outcome } = await bench.run(packages);
    const events = bench.events('packages');
    told.push([outcome, ...events.slice(seen).map(({ action, item }) => `${action} ${item}`)]);
    seen = events.length;
    bench.later(3_600_000);
  }
  return told;
}

test('from run to run: upgrade, hold, removal and purge, and a failed run in between removes nothing', async (t) => {
  if (!installed(t, 'dpkg-query')) return;
  const bench = new Bench(t);
  bench.rootfs = tree(t, { 'var/lib/dpkg/updates/.keep': '' });
  const states = [
    stanza('a', '1.9', 'install ok installed') + stanza('b', '1', 'install ok installed'),
    stanza('a', '1.10', 'hold ok installed') + stanza('b', '1', 'deinstall ok config-files'),
    'not a stanza\n',
    stanza('a', '1.10', 'hold ok installed'),
  ];
  const status = join(bench.rootfs, 'var/lib/dpkg/status');
  assert.deepEqual(await runs(bench, states, (state) => writeFileSync(status, state)), [
    ['ok', 'present dpkg/a/all', 'present dpkg/b/all'],
    ['ok', 'upgraded dpkg/a/all', 'held dpkg/a/all', 'removed dpkg/b/all'],
    ['failed'],
    ['ok', 'purged dpkg/b/all'],
  ]);
});

test('files at rest are not read again, and a change of any of those that dpkg-query reads is seen', async (t) => {
  if (!installed(t, 'dpkg-query')) return;
  const bench = new Bench(t);
  const admindir = 'var/lib/dpkg';
  bench.rootfs = tree(t, {
    [`${admindir}/status`]: stanza('a', '1', 'install ok installed'),
    [`${admindir}/info/a.list`]: '/.\n',
    [`${admindir}/updates/.keep`]: '',
  });
  const at = (file: string): string => join(bench.rootfs, admindir, file);
  const basisOf = (): unknown =>
    JSON.parse(readFileSync(join(bench.paths.lib, 'agents/packages/state.json'), 'utf8')).basis;
  let told = 0;
  const news = async (): Promise<string[]> => {
    // The files' times are the real clock's: from there they have been at rest for a while.
    bench.now = new Date(Date.now() + 10_000);
    assert.equal((await bench.run(packages)).outcome, 'ok');
    const events = bench.events('packages').slice(told);
    told += events.length;
    return events.map(({ action, item }) => `${action} ${item}`);
  };
  assert.deepEqual(await news(), ['present dpkg/a/all']);
  const basis = basisOf();
  assert.ok(basis, 'it rests on files and did not say so');
  assert.deepEqual(await news(), []);
  assert.deepEqual(basisOf(), basis, 'it read what had not changed');
  utimesSync(at('info/a.list'), 1_700_000_000, 1_700_000_000);
  assert.deepEqual(await news(), ['reinstalled dpkg/a/all'], 'a file list alone');
  writeFileSync(at('updates/0000'), stanza('b', '1', 'install ok installed'));
  assert.deepEqual(await news(), ['installed dpkg/b/all'], 'what dpkg has not merged into status yet');
  rmSync(at('updates/0000'));
  writeFileSync(at('status'), stanza('a', '2', 'install ok installed'));
  assert.deepEqual(await news(), ['removed dpkg/b/all', 'upgraded dpkg/a/all']);
});

/** What rpm prints, by the agent's format, of a kernel that neither yum nor dnf is known to keep several of. */
function rpmKernel(version: string): string {
  return `N:'kernel-lt'\\nE:(none)\\nV:'${version}'\\nR:'1'\\nA:'x86_64'\\nt:1795402880\\np:'kernel-lt' \\n\\n`;
}

test('rpm: a second kernel is installed and leaves the first as it was', async (t) => {
  const bench = new Bench(t);
  bench.rootfs = rpmTree(t);
  const states = [['5.4.1'], ['5.4.1', '5.4.2'], ['5.4.1']];
  const told = await runs(bench, states, (versions) =>
    fake(t, 'rpm', `printf "${versions.map(rpmKernel).join('')}"`),
  );
  assert.deepEqual(told, [
    ['ok', 'present rpm/kernel-lt/x86_64'],
    ['ok', 'installed rpm/kernel-lt/x86_64/5.4.2-1'],
    ['ok', 'removed rpm/kernel-lt/x86_64/5.4.2-1'],
  ]);
});
