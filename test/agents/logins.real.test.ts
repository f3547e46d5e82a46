/** A real sshd on the loopback address, for an account of its own, writes to this machine's wtmp and btmp what the agent must find. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  accessSync,
  chmodSync,
  constants,
  existsSync,
  mkdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import logins from '../../agents/logins.ts';
import type { LoginEvent } from '../../src/source/logins/sessions.ts';
import { collectEntries, lastCursor } from '../helpers/sources.ts';
import { temporary } from '../helpers/tree.ts';

const ACCOUNT = `dsac-test-${process.pid}`;
const NOBODY = `dsac-none-${process.pid}`;

/** Why this test cannot run here. */
function obstacle(): string | undefined {
  if (process.getuid?.() !== 0) return 'it makes an account: needs root';
  if (!/^ID=debian\nVERSION_ID="12"$/m.test(sortedRelease()))
    return 'needs Debian 12, whose sshd writes wtmp';
  const needed = [
    '/usr/sbin/sshd',
    '/usr/bin/ssh',
    '/usr/bin/ssh-keygen',
    '/usr/sbin/useradd',
    '/var/log/wtmp',
    '/var/log/btmp',
  ];
  return needed.filter((path) => !existsSync(path)).map((path) => `${path} is not here`)[0] ?? notWritable();
}

function sortedRelease(): string {
  const release = existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : '';
  return release
    .split('\n')
    .filter((line) => /^(?:ID|VERSION_ID)=/.test(line))
    .sort()
    .join('\n');
}

function notWritable(): string | undefined {
  try {
    accessSync('/var/log/wtmp', constants.W_OK);
    return undefined;
  } catch {
    return '/var/log/wtmp cannot be written';
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((settle) => server.listen(0, '127.0.0.1', settle));
  const { port } = server.address() as AddressInfo;
  await new Promise((settle) => server.close(settle));
  return port;
}

function addAccount(t: TestContext): void {
  execFileSync('useradd', ['--no-create-home', '--home-dir', '/nonexistent', '--shell', '/bin/sh', ACCOUNT]);
  t.after(() => execFileSync('userdel', [ACCOUNT], { stdio: 'ignore' }));
  // `*` is no password, but unlike `!` does not lock the account for sshd
  execFileSync('usermod', ['--password', '*', ACCOUNT]);
}

/** What a running Debian has and a bare container lacks: sshd's folder, and utmp, without which the C library records no logout. */
function makeRun(t: TestContext): void {
  if (!existsSync('/run/sshd')) {
    mkdirSync('/run/sshd', { mode: 0o755 });
    t.after(() => rmdirSync('/run/sshd'));
  }
  if (!existsSync('/run/utmp')) {
    writeFileSync('/run/utmp', '', { mode: 0o664 });
    t.after(() => rmSync('/run/utmp'));
  }
}

function makeKeys(folder: string): void {
  for (const name of ['host', 'user'])
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, name)]);
}

const ended = (child: ChildProcess): Promise<void> =>
  new Promise((settle) => child.once('close', () => settle()));

/** Starts an sshd. `stop` ends it, and settles when the last process that it started is gone, and so has written its records. */
async function startSshd(
  t: TestContext,
  folder: string,
  port: number,
): Promise<{ stop: () => Promise<void>; said: () => string }> {
  const options = {
    Port: port,
    ListenAddress: '127.0.0.1',
    HostKey: join(folder, 'host'),
    AuthorizedKeysFile: join(folder, 'user.pub'),
    StrictModes: 'no',
    UsePAM: 'no',
    PasswordAuthentication: 'no',
    PidFile: 'none',
  };
  const args = Object.entries(options).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  const sshd = spawn('/usr/sbin/sshd', ['-D', '-e', '-f', '/dev/null', ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  t.after(() => sshd.kill('SIGKILL'));
  let said = '';
  const done = ended(sshd);
  const ready = new Promise<void>((settle) => {
    sshd.stderr.on('data', (chunk: Buffer) => {
      said += chunk.toString();
      if (said.includes('Server listening on')) settle();
    });
  });
  await Promise.race([ready, done]);
  assert.match(said, /Server listening on/);
  const stop = (): Promise<void> => {
    sshd.kill();
    // the pipe of stderr closes with the last process that holds it
    return done;
  };
  return { stop, said: () => said };
}

async function connect(t: TestContext, folder: string, user: string): Promise<void> {
  const port = await freePort();
  const sshd = await startSshd(t, folder, port);
  const quiet = [
    'StrictHostKeyChecking=no',
    'UserKnownHostsFile=/dev/null',
    'BatchMode=yes',
    'ConnectTimeout=10',
  ];
  const args = ['-tt', '-F', '/dev/null', '-p', String(port), '-i', join(folder, 'user')];
  const ssh = spawn(
    '/usr/bin/ssh',
    [...args, ...quiet.flatMap((option) => ['-o', option]), `${user}@127.0.0.1`, 'true'],
    {
      stdio: 'ignore',
    },
  );
  t.after(() => ssh.kill('SIGKILL'));
  await ended(ssh);
  await sshd.stop();
  t.diagnostic(
    `sshd: ${sshd
      .said()
      .split('\n')
      .filter((line) => /Accepted|Invalid user/.test(line))
      .join('; ')}`,
  );
}

test('a real login over ssh, its logout and a refused one are found', { timeout: 60_000 }, async (t) => {
  const reason = obstacle();
  if (reason !== undefined) {
    t.skip(`left out: ${reason}`);
    return;
  }
  const folder = temporary(t);
  // sshd reads the authorized keys as the user
  chmodSync(folder, 0o755);
  makeKeys(folder);
  addAccount(t);
  makeRun(t);
  const before = await collectEntries(logins, { root: '/' });
  const cursors = Object.fromEntries(
    Object.entries(before.got).map(([name, entries]) => [name, lastCursor(entries)]),
  );
  await connect(t, folder, ACCOUNT);
  await connect(t, folder, NOBODY);
  const after = await collectEntries(logins, { root: '/', cursors });
  const of = (source: string, user: string): LoginEvent[] =>
    (after.got[source] ?? []).flatMap(({ event }) => (event?.data?.user === user ? [event] : []));
  const [login, logout, ...more] = of('wtmp', ACCOUNT);
  assert.deepEqual([login?.action, logout?.action, more.length], ['login', 'logout', 0]);
  assert.equal(login?.data?.from, '127.0.0.1');
  assert.match(login?.data?.tty ?? '', /^pts\/\d+$/);
  assert.equal(logout?.item, login?.item);
  assert.ok((logout?.data?.duration_s ?? -1) >= 0);
  const refused = of('btmp', NOBODY);
  assert.deepEqual(
    refused.map(({ action, data }) => [action, data?.from, data?.service]),
    [['failed', '127.0.0.1', 'sshd']],
  );
});
