import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join, relative } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openStore } from '../../src/store/store.ts';
import { dsac, Home } from '../helpers/dsac.ts';
import { layOut, temporary } from '../helpers/tree.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const BINS = [
  'dsac',
  'dsac-agent',
  'dsac-dispatch',
  'dsac-consume',
  'dsac-process',
  'dsac-report',
  'dsac-spool',
];

/** An installation whose store is there, and empty. */
async function homeWithStore(t: TestContext): Promise<Home> {
  const home = new Home(t);
  await home.run('init');
  await (await openStore(undefined, { home: home.path })).close();
  return home;
}

/** An older Node on this machine, for the tests of how one is turned away. */
const oldNode = ['/usr/bin/node', '/usr/local/bin/node'].find((path) => {
  if (!existsSync(path)) return false;
  const [major, minor] = execFileSync(path, ['--version'], { encoding: 'utf8' })
    .slice(1)
    .split('.')
    .map(Number);
  return major! < 24 || (major === 24 && minor! < 12);
});

test('every bin says in one line that Node is too old, and exits 78', {
  skip: !oldNode && 'left out: no Node older than 24.12 here',
}, () => {
  for (const bin of BINS) {
    const { status, stderr, stdout } = spawnSync(oldNode!, [join(root, 'bin', `${bin}.js`), '--help'], {
      encoding: 'utf8',
    });
    assert.equal(status, 78, bin);
    assert.match(
      stderr,
      new RegExp(`^${bin}: error: DSAC needs Node 24\\.12 or newer, this is \\d+\\.[^\\n]*\\n$`),
    );
    assert.equal(stdout, '');
  }
});

test('each command is also a bin of its own', async () => {
  for (const bin of BINS.slice(1)) {
    const { code, stdout } = await dsac(['--help'], { bin });
    assert.equal(code, 0, bin);
    assert.match(stdout, new RegExp(`^Usage: dsac ${bin.slice(5)} `));
  }
});

const mistakes: [args: string[], code: number, said: RegExp][] = [
  [['agnet'], 64, /^dsac: error: unknown command 'agnet'\ndsac: hint: did you mean 'agent'\?\n$/],
  [[], 64, /^dsac: error: no command given\n/],
  [['help', 'bogus'], 64, /^dsac: error: unknown command 'bogus'\n/],
  [
    ['init', '--role', 'foo'],
    64,
    /^dsac: error: .*'foo' is invalid\.\ndsac: hint: use one of: node, central, all\n$/,
  ],
  [
    ['agent', 'pakages'],
    64,
    /^dsac-agent: error: unknown agent 'pakages'\ndsac-agent: hint: did you mean 'packages'\?\n$/,
  ],
  [
    ['report', 'loginss'],
    64,
    /^dsac-report: error: unknown report 'loginss'\ndsac-report: hint: did you mean 'logins'\?\n$/,
  ],
  [
    ['report', 'logins', '--since', 'tuesday'],
    64,
    /^dsac-report: error: --since: 'tuesday' is not a time\ndsac-report: hint: use a time ago/,
  ],
  [['report', 'logins', '--format', 'xml'], 64, /'xml' is invalid\.\n.*use one of: table, json, ndjson, csv/],
  [['dispatch', 'brokr'], 64, /^dsac-dispatch: error: unknown dispatcher 'brokr'\n/],
  [['consume', '--max-time', 'long'], 64, /^dsac-consume: error: --max-time: 'long' is not a duration\n/],
  [['consume'], 78, /there is no 'consume' section/],
  [
    ['agent', 'users'],
    78,
    /^dsac-agent: error: cannot read .*node\.id: it is not there\ndsac-agent: hint: run dsac init first/,
  ],
  [
    ['--home', '/x', 'init'],
    64,
    /^dsac: error: unknown option '--home'\ndsac: hint: give it after the command/,
  ],
  [['spool', 'ls'], 78, /^dsac-spool: error: no spool at /],
  [['agent', '--rootfs', 'GONE'], 64, /^dsac-agent: error: .*there is no directory GONE/],
  [['agent', '--rootfs', '/etc/passwd'], 64, /^dsac-agent: error: .*there is no directory \/etc\/passwd/],
  [['init', '--home', ''], 64, /^dsac: error: .*cannot be empty/],
  [
    ['process', '--home', 'GONE'],
    78,
    /^dsac-process: error: there is no directory GONE\ndsac-process: hint: .*dsac init --home GONE\n$/,
  ],
  [['cron', '--home', 'GONE'], 78, /^dsac: error: there is no directory GONE\n/],
  [['report', 'packages', '--output', ''], 64, /^dsac-report: error: --output: a path cannot be empty\n/],
  [['agent', '--config', 'GONE.yaml'], 78, /^dsac-agent: error: cannot read the configuration GONE\.yaml: /],
];

for (const [args, code, said] of mistakes) {
  test(`dsac ${args.join(' ')}: one clear error, exit ${code}`, async (t) => {
    const home = temporary(t);
    // A path that is missing for sure lies where nothing else can make it.
    const gone = join(home, 'gone');
    const ran = await dsac(
      args.map((arg) => arg.replace('GONE', gone)),
      { env: { DSAC_HOME: home } },
    );
    assert.match(ran.stderr.replaceAll(gone, 'GONE'), said);
    assert.equal(ran.code, code);
    assert.equal(ran.stdout, '');
  });
}

test('a mistake in the configuration names file, line, key and the nearest key', async (t) => {
  const home = new Home(t, 'agents: {}\ndispatchers:\n  here:\n    type: directory\n    paht: /x\n');
  const { code, stderr } = await home.try('dispatch');
  assert.equal(code, 78);
  assert.match(
    stderr,
    /etc\/dsac\/dsac\.yaml:5: dispatchers\.here\.paht: unknown key\ndsac-dispatch: hint: did you mean 'path'\?/,
  );
});

test('init makes what is missing, keeps what is there, and keeps secrets to its user', async (t) => {
  const home = new Home(t);
  const made = await home.run('init');
  assert.match(made, /^made {3}.*etc\/dsac\/node\.key$/m);
  const files = ['dsac.yaml', 'node.id', 'node.key', 'node.secret'].map((name) =>
    join(home.path, 'etc/dsac', name),
  );
  for (const secret of files.slice(2)) assert.equal(statSync(secret).mode & 0o777, 0o600, secret);
  writeFileSync(files[0]!, 'host: web9\n');
  const before = files.map((file) => readFileSync(file, 'utf8'));
  assert.doesNotMatch(await home.run('init'), /^made/m);
  assert.deepEqual(
    files.map((file) => readFileSync(file, 'utf8')),
    before,
  );
});

test('the configuration that init writes is accepted as it is, and with every comment taken out', async (t) => {
  const home = new Home(t);
  await home.run('init');
  await home.run('dispatch', '--list');
  const path = join(home.path, 'etc/dsac/dsac.yaml');
  writeFileSync(path, readFileSync(path, 'utf8').replace(/^#(?=[a-z]| {2})/gm, ''));
  assert.match(await home.run('dispatch', '--list'), /^broker +amqp +\* /m);
  assert.match(await home.run('process', '--list'), /^store +store /m);
});

test('agent --print shows what is collected and leaves the spool untouched', async (t) => {
  const home = new Home(t);
  const tree = temporary(t);
  layOut(tree, { 'etc/passwd': 'root:x:0:0::/root:/bin/sh\n', 'etc/group': 'root:x:0:\n' });
  const printed = await home.run('agent', 'users', '--print', '--rootfs', tree);
  const events = printed
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.deepEqual(
    events.map(({ action, item }) => `${action} ${item}`),
    ['present user/root', 'present group/root'],
  );
  assert.equal(existsSync(join(home.path, 'var/spool')), false);
});

test('cron prints entries that run this install, quiet when nothing is wrong', async (t) => {
  const home = new Home(t);
  const tree = temporary(t);
  layOut(tree, { 'etc/passwd': 'root:x:0:0::/root:/bin/sh\n', 'etc/group': 'root:x:0:\n' });
  await home.run('init');
  const lines = (await home.run('cron', '--rootfs', tree))
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));
  assert.equal(lines.length, 2);
  for (const line of lines) {
    assert.match(line, /^(?:\S+ ){5}/);
    const command = line.replace(/^(?:\S+ ){5}(?:sleep \d+; )?/, '').replaceAll('\\%', '%');
    const { status, stdout, stderr } = spawnSync('/bin/sh', ['-c', command], {
      encoding: 'utf8',
      env: { PATH: '/usr/bin:/bin', HOME: '/' },
    });
    assert.equal(stdout + stderr, '', command);
    assert.equal(status, 0, command);
  }
});

test('a node that is not root is told what it may not read, and everything else goes on', {
  skip: process.getuid?.() !== 0 && 'left out: needs root to become another user',
}, async (t) => {
  const nobody = { uid: 65534, gid: 65534, encoding: 'utf8' } as const;
  if (spawnSync(process.execPath, [join(root, 'bin/dsac.js'), '--version'], nobody).status !== 0) {
    return t.skip(`left out: another user cannot read ${root}`);
  }
  const home = new Home(t);
  const tree = temporary(t);
  layOut(tree, {
    'etc/passwd': 'root:x:0:0::/root:/bin/sh\n',
    'etc/group': 'root:x:0:\n',
    'var/log/btmp': Buffer.alloc(384),
  });
  chmodSync(join(tree, 'var/log/btmp'), 0o600);
  chmodSync(tree, 0o755);
  chmodSync(home.path, 0o777);
  const run = (...args: string[]): ReturnType<typeof spawnSync> =>
    spawnSync(
      process.execPath,
      [join(root, 'bin/dsac.js'), ...args, '--home', home.path, '--rootfs', tree],
      nobody,
    );
  assert.equal(run('init').status, 0);
  const { status, stderr } = run('agent');
  assert.equal(status, 69);
  assert.match(String(stderr), /^dsac-agent: logins: failed: btmp: EACCES/);
  assert.match(String(run('spool', 'ls').stdout), / users +snapshot /);
  assert.equal(run('dispatch').status, 0);
  assert.equal(run('process').status, 0);
  assert.match(
    String(run('report', 'users').stdout),
    /^incomplete: 0 of 1 nodes complete; 1 late: \S+ logins \(last run failed\)\n/,
    'what could not be read counts as complete',
  );
});

test('bytes from a node never act on a terminal: not in spool ls, not in a report', async (t) => {
  const home = new Home(t, 'host: "evil\\e[2J\\u202e"\n');
  const tree = temporary(t);
  layOut(tree, {
    'etc/passwd': 'root:x:0:0:\x1b]0;owned\x07\u202e:/root:/bin/sh\n',
    'etc/group': 'root:x:0:\n',
  });
  await home.run('init');
  await home.run('agent', 'users', '--rootfs', tree);
  writeFileSync(join(tree, 'etc/passwd'), 'root:x:0:0:\x1b[31mred:/root:/bin/sh\n=cmd:x:1:1::/:/bin/sh\n');
  await home.run('agent', 'users', '--rootfs', tree);
  const listed = await home.run('spool', 'ls');
  assert.match(listed, /evil\\x1b\[2J\\u202e/);
  await home.run('dispatch');
  await home.run('process');
  for (const format of ['table', 'csv']) {
    const text = await home.run('report', 'changes', '--format', format);
    assert.doesNotMatch(text.replace(/\r?\n/g, ''), /[\p{Cc}\u202a-\u202e]/u, format);
  }
});

test('a damaged file in the spool is set aside with its reason, shown, and the rest goes on', async (t) => {
  const home = new Home(t);
  const tree = temporary(t);
  layOut(tree, { 'etc/passwd': 'root:x:0:0::/root:/bin/sh\n', 'etc/group': 'root:x:0:\n' });
  await home.run('init');
  await home.run('agent', 'users', '--rootfs', tree);
  writeFileSync(join(home.path, 'var/spool/dsac/out/new/users.broken.jsonl'), 'junk\x1b[2J\n');
  const verify = await home.try('spool', 'verify');
  assert.equal(verify.code, 65);
  assert.match(verify.stderr, /new\/users\.broken\.jsonl: at byte 0: bytes that are not a batch header/);
  const { stderr } = await home.try('dispatch');
  assert.match(stderr, /^dsac-dispatch: 1 damaged file\(s\) set aside: see dsac spool ls corrupt\n/);
  assert.match(
    await home.run('spool', 'ls', 'corrupt'),
    /^corrupt .* damaged .* users\.broken\.jsonl +at byte 0: bytes/m,
  );
  assert.match(await home.run('spool', 'ls', '--stack', 'in'), / users +snapshot /);
});

test('a pattern may be an absolute path below the spool, and never leads out of it', async (t) => {
  const home = new Home(t);
  await home.run('init');
  await home.run('agent', 'users');
  const inside = await home.run('spool', 'ls', join(home.path, 'var/spool/dsac/out/new'));
  assert.match(inside, /users\./);
  for (const outside of ['/etc/passwd', '../in/new']) {
    const { code, stderr } = await home.try('spool', 'ls', outside);
    assert.equal(code, 64);
    assert.match(stderr, /is not in the spool .*\n.*hint: patterns are/);
  }
});

test('a bin of its own tells its version as dsac does', async () => {
  const { code, stdout } = await dsac(['--version'], { bin: 'dsac-agent' });
  assert.deepEqual([code, stdout], [0, (await dsac(['--version'])).stdout]);
});

test('cron’s entries name every path whole, and the configuration that the shell had', async (t) => {
  const home = new Home(t);
  await home.run('init');
  const config = join(home.path, 'etc/dsac/dsac.yaml');
  const { stdout } = await dsac(['cron', '--home', home.path, '--rootfs', '.'], {
    env: { DSAC_CONFIG: relative(process.cwd(), config) },
  });
  assert.ok(stdout.includes(` --config ${config} --rootfs ${process.cwd()}`), stdout);
});

test('cron prints nothing where a path holds a line break, which would end a crontab’s line', async (t) => {
  const path = join(temporary(t), 'a\nb');
  mkdirSync(path);
  const { code, stdout, stderr } = await dsac(['cron', '--home', path, '--role', 'central']);
  assert.equal(code, 78);
  assert.doesNotMatch(stdout, /^[^#]/m);
  assert.match(stderr, /^dsac: error: a line of a crontab cannot hold a path with a line break: .*a\\x0ab\n/);
});

test('standard error that cannot be written does not change how a command ends', async (t) => {
  const home = new Home(t);
  await home.run('init');
  const full = openSync('/dev/full', 'w');
  t.after(() => closeSync(full));
  for (const [args, code] of [
    [['agent', 'none'], 64],
    [['spool', 'ls'], 0],
    [['agent', 'users', '--verbose'], 0],
  ] as const) {
    const { status } = spawnSync(
      process.execPath,
      [join(root, 'bin/dsac.js'), ...args, '--home', home.path],
      { stdio: ['ignore', 'ignore', full] },
    );
    assert.equal(status, code, args.join(' '));
  }
});

test('another user’s files: no permission, exit 77, and as whom to run', {
  skip: process.getuid?.() !== 0 && 'left out: needs root to become another user',
}, async (t) => {
  const home = new Home(t);
  await home.run('init');
  chmodSync(home.path, 0o755);
  const etc = join(home.path, 'etc/dsac');
  const asOther = (...args: string[]) => dsac([...args, '--home', home.path], { uid: 65_534 });
  for (const command of ['agent', 'dispatch', 'process', 'report', 'spool', 'verify', 'cron']) {
    const rest = { report: ['packages'], spool: ['ls'] }[command] ?? [];
    const { code, stderr } = await asOther(command, ...rest);
    assert.match(
      stderr,
      /error: cannot read the configuration \/.*dsac\.yaml: EACCES: .*\n.*hint: run as the user that ran dsac init\n$/,
    );
    assert.equal(code, 77, command);
  }
  for (const path of ['', 'etc', 'etc/dsac']) chmodSync(join(home.path, path), 0o755);
  chmodSync(join(etc, 'dsac.yaml'), 0o644);
  const agent = await asOther('agent', 'users');
  assert.match(
    agent.stderr,
    /cannot read \/.*node\.key: EACCES: .*\n.*hint: run as the user that ran dsac init\n$/,
  );
  assert.equal(agent.code, 77);
  writeFileSync(
    join(etc, 'dsac.yaml'),
    'consume: { url: amqp://127.0.0.1:1, password_file: etc/dsac/node.key }\n',
  );
  const consume = await asOther('consume', '--setup');
  assert.match(
    consume.stderr,
    /password_file: cannot read \/.*\n.*hint: the user that DSAC runs as must be able to read it\n$/,
  );
  assert.equal(consume.code, 77);
});

test('a run of root in another user’s home: its owner is told whose file is in the way', {
  skip: process.getuid?.() !== 0 && 'left out: needs root to become another user',
}, async (t) => {
  const home = new Home(t);
  chownSync(home.path, 65_534, 65_534);
  const asOwner = (...args: string[]) => dsac([...args, '--home', home.path], { uid: 65_534 });
  assert.equal((await asOwner('init')).code, 0);
  await asOwner('agent', 'packages');
  await home.run('agent', 'packages');
  const { code, stderr } = await asOwner('agent', 'packages');
  assert.match(
    stderr,
    /error: no receipt written: EACCES: .*\n.*hint: .*another one \(root\?\) has run here: give the file back/,
  );
  assert.equal(code, 77);
});

test('salvage of nothing is no error; what was given up says where to look', async (t) => {
  const home = new Home(t, 'dispatchers: { x: { type: exec, command: [/bin/false] } }\n');
  await home.run('init');
  const { code, stderr } = await home.try('spool', 'salvage', 'corrupt');
  assert.equal(code, 0);
  assert.match(stderr, /^dsac-spool: .* corrupt: nothing there\n$/);
  await home.try('agent', 'users');
  const dispatched = await home.try('dispatch');
  assert.match(dispatched.stderr, /^dsac-dispatch: x: 0 delivered, 2 given up: see dsac spool ls failed\n$/);
});

test('hold and release, and a pattern that matches nothing', async (t) => {
  const home = new Home(t);
  const tree = temporary(t);
  layOut(tree, { 'etc/passwd': 'root:x:0:0::/root:/bin/sh\n', 'etc/group': 'root:x:0:\n' });
  await home.run('init');
  await home.run('agent', 'users', '--rootfs', tree);
  await home.run('spool', 'hold', 'users.*', '--reason', 'ask Eve');
  await home.run('dispatch');
  await home.run('spool', 'hold', 'users.*');
  assert.match(await home.run('spool', 'ls', 'hold'), /^hold .* users .* ask Eve$/m);
  await home.run('spool', 'release', 'hold/users.*');
  await home.run('dispatch');
  assert.match(await home.run('spool', 'ls', '--stack', 'in'), / users +snapshot /);
  const { code, stderr } = await home.try('spool', 'requeue', 'nothing*');
  assert.equal(code, 64);
  assert.match(stderr, /nothing in .* matches 'nothing\*'\ndsac-spool: hint: /);
});

test('a report file is whole or not there, and the reader of a pipe may leave early', async (t) => {
  const home = await homeWithStore(t);
  const path = join(home.path, 'report.json');
  await home.run('report', 'packages', '--format', 'json', '--output', path);
  assert.equal(JSON.parse(readFileSync(path, 'utf8')).report, 'packages');
  const missing = await home.try('report', 'packages', '--output', join(home.path, 'no/such/file'));
  assert.equal(missing.code, 74);
  const command = `"${process.execPath}" "${join(root, 'bin/dsac.js')}" agent --help | head -c 1`;
  assert.equal(spawnSync('/bin/sh', ['-c', command], { encoding: 'utf8' }).stderr, '');
});

test('a bin works through a symbolic link, as npm installs it', async (t) => {
  const link = join(temporary(t), 'dsac');
  symlinkSync(join(root, 'bin/dsac.js'), link);
  assert.match(
    execFileSync(process.execPath, [link, '--version'], { encoding: 'utf8' }),
    /^\d+\.\d+\.\d+\n$/,
  );
});

test('a report to a device is written to it, and a link or a file of another in the way is not followed', async (t) => {
  const home = await homeWithStore(t);
  await home.run('report', 'packages', '--output', '/dev/null');
  assert.ok(statSync('/dev/null').isCharacterDevice(), 'the device was replaced by a file');
  const victim = join(home.path, 'victim');
  writeFileSync(victim, 'mine');
  symlinkSync(victim, join(home.path, 'r.json.new'));
  await home.run('report', 'packages', '--format', 'json', '--output', join(home.path, 'r.json'));
  assert.equal(readFileSync(victim, 'utf8'), 'mine');
});

test('a report to /dev/stdout goes where that leads, and the name stays what it is', async (t) => {
  const home = await homeWithStore(t);
  const [name, file] = [join(home.path, 'stdout'), join(home.path, 'told')];
  symlinkSync('/proc/self/fd/1', name);
  writeFileSync(file, 'before\n');
  const command = `"${process.execPath}" "${join(root, 'bin/dsac.js')}" report packages --home "${home.path}" --format csv --output "${name}" >> "${file}"`;
  assert.equal(spawnSync('/bin/sh', ['-c', command], { encoding: 'utf8' }).stderr, '');
  assert.equal(readlinkSync(name), '/proc/self/fd/1');
  assert.match(readFileSync(file, 'utf8'), /^before\ntime,/);
  assert.deepEqual(
    readdirSync(home.path).filter((entry) => entry.endsWith('.new')),
    [],
  );
});

test('an output that is full ends a command with the reason', {
  skip: !existsSync('/dev/full') && 'left out: no /dev/full',
}, async (t) => {
  const home = await homeWithStore(t);
  const command = `"${process.execPath}" "${join(root, 'bin/dsac.js')}" report packages --home "${home.path}" > /dev/full`;
  const { status, stderr } = spawnSync('/bin/sh', ['-c', command], { encoding: 'utf8' });
  assert.match(stderr, /^dsac-\w+: error: cannot write to standard output: ENOSPC[^\n]*\n$/);
  assert.equal(status, 74);
  const version = `"${process.execPath}" "${join(root, 'bin/dsac.js')}" --version > /dev/full`;
  const told = spawnSync('/bin/sh', ['-c', version], { encoding: 'utf8' });
  assert.match(told.stderr, /^dsac: error: cannot write to standard output: ENOSPC[^\n]*\n$/);
  assert.equal(told.status, 74);
});

for (const [command, stack] of [
  ['dispatch', 'out'],
  ['process', 'in'],
] as const) {
  test(`${command} leaves before its configuration is read only where there is nothing at all to do`, async (t) => {
    const home = new Home(t, 'dispatchers: [wrong]\n');
    const spool = join(home.path, 'var/spool/dsac', stack);
    assert.equal((await home.try(command)).code, 78, 'there is no spool yet');
    for (const state of ['new', 'tmp', 'queue/one', 'hold', 'corrupt', 'failed'])
      mkdirSync(join(spool, state), { recursive: true });
    const idle = await home.try(command);
    assert.deepEqual([idle.code, idle.stdout, idle.stderr], [0, '', '']);
    assert.equal((await home.try(command, '--list')).code, 78);
    for (const state of ['new', 'tmp', 'queue/one']) {
      const file = join(spool, state, 'any');
      writeFileSync(file, '');
      assert.equal((await home.try(command)).code, 78, `a file in ${state}`);
      rmSync(file);
    }
    assert.equal((await home.try(command)).code, 0);
  });
}

test('what is no batch in a spool neither hangs nor hides: pipes and links are passed over, strange files set aside', async (t) => {
  const home = new Home(t);
  await home.run('init');
  const incoming = join(home.path, 'var/spool/dsac/in/new');
  execFileSync('mkfifo', [join(incoming, 'pipe.jsonl')]);
  symlinkSync('/etc/shadow', join(incoming, 'link.jsonl'));
  writeFileSync(join(incoming, 'notes.txt'), 'hello');
  assert.equal((await home.try('process')).code, 65);
  assert.match(
    await home.run('spool', 'ls', 'corrupt', '--stack', 'in'),
    / notes\.txt +its name is not a batch/,
  );
});

test('batches that wait for a dispatcher that is gone are told on every run, with what to do', async (t) => {
  const tree = temporary(t);
  const path = join(tree, 'no/such/spool');
  const home = new Home(t, `dispatchers:\n  gone: { type: directory, path: ${path} }\n`);
  layOut(tree, { 'etc/passwd': 'root:x:0:0::/root:/bin/sh\n', 'etc/group': 'root:x:0:\n' });
  await home.run('init');
  await home.run('agent', 'users', '--rootfs', tree);
  await home.try('dispatch');
  writeFileSync(join(home.path, 'etc/dsac/dsac.yaml'), '');
  const { stderr } = await home.try('dispatch');
  assert.match(
    stderr,
    /2 file\(s\) wait in queue\/gone, but no 'gone' is configured\ndsac-dispatch: hint: .*dsac spool hold queue\/gone/,
  );
  await home.run('spool', 'hold', 'queue/gone');
  await home.run('spool', 'release', 'hold');
  assert.equal((await home.try('dispatch')).stderr, '');
  assert.match(await home.run('spool', 'ls', '--stack', 'in'), / users +snapshot /);
});

test('looking into a directory of the spool that is empty is no mistake', async (t) => {
  const home = new Home(t);
  await home.run('init');
  const { code, stderr } = await home.try('spool', 'ls', 'failed', 'corrupt');
  assert.equal(code, 0);
  assert.match(stderr, /nothing there/);
});
