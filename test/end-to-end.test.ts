/** The main job on this machine, as a person at a shell does it: only commands, their output and their exit codes. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { noCounts } from '../src/store/completeness-words.ts';
import { Home } from './helpers/dsac.ts';
import { ownDatabase, ownQueue, servicesLeftOut } from './helpers/services.ts';

interface ReportJson {
  readonly report: string;
  readonly completeness: Record<string, number>;
  readonly rows: Record<string, unknown>[];
}

/** A package that nothing needs, small, in every Debian; no other test installs it. */
const PACKAGE = 'figlet';

/** Other tests run apt at the same time: wait for its locks, without an option that the history would show. */
const aptConfig = join(mkdtempSync(join(tmpdir(), 'dsac-test-apt-')), 'apt.conf');
writeFileSync(aptConfig, 'DPkg::Lock::Timeout "120";\n');
after(() => rmSync(dirname(aptConfig), { recursive: true }));

const whyNot: string | false =
  process.getuid?.() !== 0
    ? 'left out: changing this machine needs root'
    : !existsSync('/usr/bin/apt-get') && 'left out: changing this machine needs apt-get';

function sh(command: string, ...args: string[]): void {
  execFileSync(command, args, {
    stdio: 'pipe',
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', APT_CONFIG: aptConfig },
  });
}

/** Installs the package, with the package lists brought up to date first where that is what it takes. */
function install(): void {
  try {
    sh('apt-get', 'install', '-y', '-q', '--no-install-recommends', PACKAGE);
  } catch {
    sh('apt-get', 'update', '-q');
    sh('apt-get', 'install', '-y', '-q', '--no-install-recommends', PACKAGE);
  }
}

function remove(): void {
  sh('apt-get', 'purge', '-y', '-q', PACKAGE);
}

async function report(home: Home, ...args: string[]): Promise<ReportJson> {
  return JSON.parse(await home.run('report', ...args, '--format', 'json')) as ReportJson;
}

/** Takes what agents spooled to the store, through whatever lies between. */
type Transport = (home: Home) => Promise<void>;

const embedded: Transport = async (home) => {
  await home.run('dispatch');
  await home.run('process');
};

const brokered: Transport = async (home) => {
  await home.run('dispatch');
  await home.run('consume');
  await home.run('process');
};

/** Changes this machine while agents run, as cron would have them, and looks at what the reports say of it. */
async function changesShow(t: TestContext, home: Home, carry: Transport): Promise<void> {
  const account = `dsac-test-${randomBytes(3).toString('hex')}`;
  remove();
  await home.run('init');
  await home.run('agent');
  await carry(home);
  const before = new Date();

  install();
  t.after(remove);
  sh('useradd', '--system', account);
  t.after(() => {
    try {
      sh('userdel', account);
    } catch {
      // the test has removed it
    }
  });
  await home.run('agent', 'packages', 'package-history', 'users');
  await carry(home);
  remove();
  sh('userdel', account);
  await home.run('agent', 'packages', 'package-history', 'users');
  await carry(home);

  const packages = await report(home, 'packages', '--since', '1h');
  const rows = packages.rows.filter(
    ({ name, time }) => name === PACKAGE && Date.parse(String(time)) >= before.getTime() - 1000,
  );
  const version = rows[0]?.to;
  assert.deepEqual(
    rows.map(({ action, manager, from, to }) => ({ action, manager, from, to })),
    [
      { action: 'installed', manager: 'dpkg', from: null, to: version },
      { action: rows[1]?.action, manager: 'dpkg', from: version, to: null },
    ],
    'one row for each real change',
  );
  assert.match(String(rows[1]?.action), /^(removed|purged)$/);
  assert.match(String(version), /^\d/);
  assert.match(JSON.stringify(rows[0]!.by), /apt-get install -y -q --no-install-recommends figlet/);
  assert.match(JSON.stringify(rows[1]!.by), /apt-get purge -y -q figlet/);
  for (const { time, source } of rows) {
    assert.ok(Date.parse(String(time)) <= Date.now());
    assert.match(String(source), /apt/);
    assert.match(String(source), /observed/);
  }

  const users = await report(home, 'users', '--since', '1h');
  assert.deepEqual(
    users.rows.filter(({ name, kind }) => name === account && kind === 'user').map(({ action }) => action),
    ['added', 'removed'],
  );
  assert.deepEqual(packages.completeness, { ...noCounts(), nodes: 1, complete: 1 });
  assert.match(await home.run('report', 'packages'), /^complete: 1 of 1 nodes\n/);
}

test('a package installed and removed and a user added show in the reports, with embedded defaults', {
  skip: whyNot,
}, async (t) => {
  await changesShow(t, new Home(t), embedded);
});

test('a package installed and removed and a user added show in the reports, through RabbitMQ into MariaDB', {
  skip: servicesLeftOut || whyNot,
}, async (t) => {
  const { url, exchange, queue } = ownQueue(t);
  const database = await ownDatabase(t);
  const config = `
dispatchers:
  broker: { type: amqp, url: '${url}', exchange: ${exchange} }
consume: { url: '${url}', exchange: ${exchange}, queue: ${queue} }
store: { url: '${database}' }
`;
  const home = new Home(t, config);
  await home.run('consume', '--setup');
  await changesShow(t, home, brokered);
  const waiting = await home.run('spool', 'stat');
  assert.match(waiting, /^queue\/broker +0 /m);
});

test('the way of a batch can be followed with spool ls and cat at each step', async (t) => {
  const home = new Home(t);
  await home.run('init');
  await home.run('agent', 'users');
  const where = async (stack: string): Promise<string[]> =>
    (await home.run('spool', 'ls', '--stack', stack))
      .split('\n')
      .filter((line) => line.includes(' users '))
      .map((line) => line.split(' ')[0]!);
  assert.deepEqual(await where('out'), ['new']);
  const inNew = await home.run('spool', 'cat', 'new/users.*');
  await home.run('dispatch');
  assert.deepEqual([await where('out'), await where('in')], [[], ['new']]);
  assert.equal(await home.run('spool', 'cat', 'new/users.*', '--stack', 'in'), inNew);
  await home.run('process', 'store');
  assert.deepEqual(await where('in'), ['queue/archive']);
  assert.equal(await home.run('spool', 'cat', 'queue/archive/users.*', '--stack', 'in'), inNew);
  await home.run('process');
  assert.deepEqual(await where('in'), []);
});
