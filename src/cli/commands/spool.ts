import { type Command, Option } from 'commander';
import { DsacError } from '../../errors.ts';
import type { Spool, SpoolFile } from '../../spool/spool.ts';
import { safe } from '../output/safe.ts';
import { type CommonOptions, prepare, type Setting, withCommon } from '../setting.ts';
import { say, writeOut } from '../terminal.ts';

interface SpoolOptions extends CommonOptions {
  readonly stack: 'out' | 'in';
  readonly reason?: string;
}

interface Opened {
  readonly setting: Setting;
  readonly spool: Spool;
}

async function openSpool(options: SpoolOptions): Promise<Opened> {
  const setting = await prepare('dsac-spool', options);
  const { Spool } = await import('../../spool/spool.ts');
  const root = options.stack === 'out' ? setting.paths.out : setting.paths.in;
  const spool = new Spool(root, { by: 'dsac-spool' });
  if ((await spool.disk.stat(root)) === undefined) {
    throw new DsacError('config', `no spool at ${root}`, {
      hint: 'run dsac init, or give --home or --stack',
    });
  }
  return { setting, spool };
}

/** How long ago, in the largest unit: `5m`, `3d`. */
function age(now: number, then: number): string {
  const seconds = Math.max(0, Math.round((now - then) / 1000));
  for (const [unit, size] of [
    ['d', 86_400],
    ['h', 3600],
    ['m', 60],
  ] as const)
    if (seconds >= size) return `${Math.floor(seconds / size)}${unit}`;
  return `${seconds}s`;
}

async function list(patterns: string[], options: SpoolOptions): Promise<void> {
  const { spool, setting } = await openSpool(options);
  const { findFiles, inspect } = await import('../../run/inspect.ts');
  const { columns, formatBytes } = await import('../output/columns.ts');
  const now = setting.clock().getTime();
  const rows: string[][] = [];
  for (const file of await findFiles(spool, patterns)) {
    const listed = await inspect(spool, file);
    if (listed === undefined) continue;
    const { where, first, batches, events, bytes, writtenMs, reason } = listed;
    const what = first
      ? [first.host, first.agent, first.kind, String(first.seq)]
      : ['?', '?', 'damaged', '?'];
    rows.push([
      where,
      ...what,
      batches > 1 ? `${events} in ${batches}` : String(events),
      formatBytes(bytes),
      age(now, writtenMs),
      file.name,
      reason ?? '',
    ]);
  }
  if (rows.length === 0) say('dsac-spool', `${[spool.root, ...patterns].join(' ')}: nothing there`);
  else
    await writeOut(
      columns(['where', 'host', 'agent', 'kind', 'seq', 'events', 'size', 'age', 'file', 'reason'], rows),
    );
}

async function cat(patterns: string[], options: SpoolOptions): Promise<void> {
  const { spool } = await openSpool(options);
  const { findFiles, openThere } = await import('../../run/inspect.ts');
  for (const file of await findFiles(spool, patterns)) {
    for (const { batch, damage } of (await openThere(spool, file)) ?? []) {
      if (damage) say('dsac-spool', `${file.name}: at byte ${damage.offset}: ${damage.reason}`);
      const text = (batch?.bytes ?? damage!.bytes).toString();
      await writeOut(process.stdout.isTTY ? safe(text, { newlines: true }) : text);
    }
  }
}

async function stat(options: SpoolOptions): Promise<void> {
  const { spool, setting } = await openSpool(options);
  const { shares } = await import('../../run/inspect.ts');
  const { handlersDirectory } = await import('../../run/post.ts');
  const { readDestination } = await import('../../run/destination.ts');
  const { columns, formatBytes } = await import('../output/columns.ts');
  const now = setting.clock().getTime();
  const directory = handlersDirectory(setting.paths, options.stack);
  const rows: string[][] = [];
  for (const { where, files, bytes, oldestMs } of await shares(spool)) {
    const handler = where.startsWith('queue/') ? where.slice('queue/'.length) : undefined;
    const destination =
      handler === undefined ? undefined : await readDestination(spool.disk, directory, handler);
    rows.push([
      where,
      String(files),
      formatBytes(bytes),
      oldestMs === undefined ? '' : age(now, oldestMs),
      destination?.lastDelivery ?? '',
      destination?.nextTry ?? '',
      destination?.lastError ?? '',
    ]);
  }
  await writeOut(
    columns(['where', 'files', 'size', 'oldest', 'last delivery', 'next try', 'last error'], rows),
  );
}

async function verify(patterns: string[], options: SpoolOptions): Promise<void> {
  const { spool } = await openSpool(options);
  const { faults, findFiles, whereOf } = await import('../../run/inspect.ts');
  let [bad, files] = [0, 0];
  for (const file of await findFiles(spool, patterns)) {
    const found = await faults(spool, file);
    if (found === undefined) continue;
    files++;
    if (found.length > 0) bad++;
    for (const fault of found) say('dsac-spool', `${whereOf(file)}/${file.name}: ${fault}`);
  }
  await writeOut(`${files} files: ${files - bad} sound, ${bad} damaged\n`);
  if (bad > 0) throw new DsacError('data', `${bad} of ${files} files are damaged`);
}

async function move(
  verb: string,
  patterns: string[],
  options: SpoolOptions,
  step: (spool: Spool, file: SpoolFile) => Promise<unknown>,
): Promise<void> {
  const { spool } = await openSpool(options);
  const { findFiles, whereOf } = await import('../../run/inspect.ts');
  for (const file of await findFiles(spool, patterns)) {
    if ((await spool.disk.stat(file.path)) === undefined) continue;
    await step(spool, file);
    await writeOut(`${verb} ${safe(`${whereOf(file)}/${file.name}`)}\n`);
  }
}

async function salvageFiles(patterns: string[], options: SpoolOptions): Promise<void> {
  const { spool, setting } = await openSpool(options);
  const [{ salvage }, { loadIdentity }, { originOf }, { System }, { findFiles, whereOf }] = await Promise.all(
    [
      import('../../run/salvage.ts'),
      import('../../run/identity.ts'),
      import('../../run/stream.ts'),
      import('../../host/system.ts'),
      import('../../run/inspect.ts'),
    ],
  );
  const identity = await loadIdentity(setting.paths);
  const by = await originOf(new System(options.rootfs ?? '/'), identity, setting.config.host);
  let found = 0;
  const files = await findFiles(spool, patterns);
  if (files.length === 0) return say('dsac-spool', `${[spool.root, ...patterns].join(' ')}: nothing there`);
  for (const file of files) {
    const { events, lost, name } = await salvage(spool, file, by);
    if (name === undefined) say('dsac-spool', `${whereOf(file)}/${file.name}: nothing to salvage`);
    else
      await writeOut(
        `salvaged ${safe(`${whereOf(file)}/${file.name}`)}: ${events} events, ${lost} lost: hold/${name}\n`,
      );
    if (name !== undefined) found++;
  }
  if (found === 0)
    throw new DsacError('data', 'no event of a damaged batch can be read there', {
      hint: 'whole batches beside damage have gone on already; dsac spool cat shows what the files hold',
    });
}

function subcommand(parent: Command, name: string, description: string): Command {
  return withCommon(parent.command(name))
    .description(description)
    .addOption(
      new Option('--stack <stack>', 'the node’s spool (out) or the central one (in)')
        .choices(['out', 'in'])
        .default('out'),
    );
}

/** `dsac spool` */
export function registerSpool(program: Command): void {
  const spool = program.command('spool').description('look into a spool, and move what waits for a person');
  subcommand(spool, 'ls', 'list files: where, what, how many events, how old, and why they are there')
    .argument('[glob...]', "names or paths below the spool: 'packages.*', 'queue/broker/*', 'corrupt'")
    .action(list);
  subcommand(spool, 'cat', 'print batches as they are (JSON Lines), unfolded when compressed')
    .argument('<glob...>')
    .action(cat);
  subcommand(
    spool,
    'stat',
    'count each directory, and show each handler’s last delivery, next try and last error',
  ).action(stat);
  subcommand(
    spool,
    'verify',
    'check counts, digests, signatures and events of each file; exit 65 when one is damaged',
  )
    .argument('[glob...]')
    .action(verify);
  subcommand(spool, 'requeue', 'hand files from failed/ back to their handler’s queue')
    .argument('<glob...>')
    .action((patterns: string[], options: SpoolOptions) =>
      move('requeued', patterns, options, (into, file) => into.requeue(file)),
    );
  subcommand(spool, 'hold', 'take files out of the flow until they are released')
    .argument('<glob...>')
    .option('--reason <text>', 'why, for whoever finds them', 'held by a person')
    .action((patterns: string[], options: SpoolOptions) =>
      move('held', patterns, options, (into, file) => into.hold(file, options.reason ?? '')),
    );
  subcommand(
    spool,
    'salvage',
    'make batches of what can be read of damaged ones, in hold/ until they are released; the files stay',
  )
    .argument('<glob...>', "usually 'corrupt', or 'failed' for batches with an event that cannot be read")
    .action(salvageFiles);
  subcommand(spool, 'release', 'hand files from hold/ or corrupt/ back to new/, to be routed again')
    .argument('<glob...>')
    .action((patterns: string[], options: SpoolOptions) =>
      move('released', patterns, options, (into, file) => into.release(file)),
    );
}
