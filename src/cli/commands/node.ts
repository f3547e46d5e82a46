import { type Command, Option } from 'commander';
import type { Store } from '../../store/store.ts';
import { openConfiguredStore } from '../configured-store.ts';
import { FORMATS, type FormatName } from '../output/formats.ts';
import { safe } from '../output/safe.ts';
import { type CommonOptions, prepare, type Setting, withCommon } from '../setting.ts';
import { say, writeOut } from '../terminal.ts';

interface ListOptions extends CommonOptions {
  readonly format: FormatName;
}

interface AddOptions extends CommonOptions {
  readonly host?: string;
  readonly key?: string;
}

interface RetireOptions extends CommonOptions {
  readonly reason?: string;
}

async function withStore(
  options: CommonOptions,
  existing: boolean,
  work: (store: Store, setting: Setting) => Promise<void>,
): Promise<void> {
  const setting = await prepare('dsac-node', options);
  const store = await openConfiguredStore(setting, { existing });
  try {
    await work(store, setting);
  } finally {
    await store.close();
  }
}

const minute = (time: string | null): string => (time === null ? '' : time.slice(0, 16).replace('T', ' '));

async function list(globs: string[], options: ListOptions): Promise<void> {
  await withStore(options, true, async (store, { clock, paths }) => {
    const { listNodes } = await import('../../run/register.ts');
    const { knownNodes } = await import('../../run/trust.ts');
    const { listText } = await import('../output/list.ts');
    const rows = await listNodes(store, await knownNodes(paths), globs, clock());
    if (rows.length === 0) say('dsac', 'no node has reported yet, and none was added');
    const text = await listText(
      {
        rows,
        fields: [
          'host',
          'node',
          'status',
          'agents',
          'how',
          'since',
          'last_seen',
          'key',
          'key_how',
          'retired',
          'reason',
        ],
        heading: ['host', 'node', 'status', 'since', 'last seen', 'key', 'remark'],
        cells: ({ host, node, status, agents, how, since, last_seen, key_how, retired, reason }) => [
          host,
          node,
          agents.length === 0 ? status : `${status}: ${agents.join(', ')}`,
          `${how} ${since.slice(0, 10)}`,
          minute(last_seen),
          key_how ?? '',
          [retired && `retired ${retired.slice(0, 10)}`, reason].filter(Boolean).join(': '),
        ],
      },
      options.format,
    );
    if (rows.length > 0 || options.format !== 'table') await writeOut(text);
  });
}

/** `dsac node` */
export function registerNode(program: Command): void {
  const node =
    program.commands.find((command) => command.name() === 'node') ??
    program
      .command('node')
      .description('the register of expected nodes: who must report, and who need no longer');
  withCommon(node.command('ls'))
    .description('list nodes: whether they report, are late, silent or retired')
    .argument('[glob...]', "host names or ids: 'web*'")
    .addOption(new Option('--format <format>', 'how it is written').choices([...FORMATS]).default('table'))
    .action(list);
  withCommon(node.command('add'))
    .description('expect a node before it first reports; or take a retired one back')
    .argument('<node-id>', 'what etc/dsac/node.id holds on the node')
    .option('--host <name>', 'what it is called until it reports')
    .option('--key <base64>', 'the Ed25519 public key that it must sign with')
    .action((id: string, options: AddOptions) =>
      withStore(options, false, async (store, { paths, clock }) => {
        const { add } = await import('../../run/register.ts');
        const said = await add(store, id, options, clock());
        if (options.key !== undefined) {
          const { sayOfKey } = await import('../../run/trust.ts');
          await sayOfKey(paths, { node: id.toLowerCase(), key: options.key, how: 'pinned' }, clock());
        }
        await writeOut(`${safe(said)}\n`);
      }),
    );
  withCommon(node.command('retire'))
    .description('a node is out of use: from now on it owes nothing')
    .argument('<node-id|host>')
    .option('--reason <text>', 'why, for whoever asks later')
    .action((name: string, options: RetireOptions) =>
      withStore(options, true, async (store, { clock }) => {
        const { retire } = await import('../../run/register.ts');
        await writeOut(`${safe(await retire(store, name, options.reason, clock()))}\n`);
      }),
    );
}
