import type { Command } from 'commander';
import { safe } from '../output/safe.ts';
import { type CommonOptions, prepare, withCommon } from '../setting.ts';
import { writeOut } from '../terminal.ts';

interface TrustOptions extends CommonOptions {
  readonly revoke?: boolean;
}

/** Writes what a person says of a node's key, and names the files that wait for it. */
async function runTrust(node: string, key: string, options: TrustOptions): Promise<void> {
  const setting = await prepare('dsac', options);
  const { sayOfKey, waitingFor } = await import('../../run/trust.ts');
  const how = options.revoke ? 'revoked' : 'pinned';
  const file = await sayOfKey(setting.paths, { node, key, how }, setting.clock());
  await writeOut(`${how} ${node} ${key} in ${file}\n`);
  if (options.revoke) return;
  for (const where of await waitingFor(setting.paths, node, key))
    await writeOut(`waits: dsac spool release '${safe(where)}' --stack in\n`);
}

/** `dsac node trust`, below the `node` command, which is made when it is not there. */
export function registerTrust(program: Command): void {
  const node =
    program.commands.find((command) => command.name() === 'node') ??
    program.command('node').description('the nodes that this centre knows');
  withCommon(node.command('trust'))
    .description(
      'take batches of a node that are signed by this key from now on; names the files that wait for it',
    )
    .argument('<node-id>', 'the node’s id (etc/dsac/node.id there)', (text: string) => text.toLowerCase())
    .argument('<key>', 'its public key, 44 characters of base64')
    .option('--revoke', 'do not take them any more')
    .action(runTrust);
}
