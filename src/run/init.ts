/** Makes what an installation needs: directories, identity, a configuration to start from. Never overwrites. */
import { join } from 'node:path';
import type { Paths } from '../config/paths.ts';
import { create, realDisk } from '../spool/disk.ts';
import { Spool } from '../spool/spool.ts';
import { createIdentity, identityFiles } from './identity.ts';

export type Role = 'node' | 'central' | 'all';

const AGENTS = `# Agents run with their defaults; change or add to them here. dsac agent --list shows them.
#agents:
#  packages: { every: 30m }
#  my-check: { type: exec, command: [/usr/local/libexec/my-check], kind: inventory, every: 1d }
`;

const NODE = `# Where this node sends its batches. Without this section: to the central spool on this host.
#dispatchers:
#  broker:
#    type: amqp
#    url: amqps://dsac@broker.example.org
#    password_file: /etc/dsac/broker.password
#    tls: { ca: /etc/dsac/ca.pem }
`;

const CENTRAL = `# The broker that batches come from; needed only for dsac consume.
#consume:
#  url: amqps://dsac@broker.example.org
#  password_file: /etc/dsac/broker.password

# What is done with each batch. Without this section: archive and store.
#processors:
#  archive: {}
#  store: {}

# The database that reports read. Default: SQLite in var/lib/dsac/store.db.
#store:
#  url: mysql://dsac@db.example.org/dsac
#  password_file: /etc/dsac/store.password
`;

const PARTS: Record<Role, readonly string[]> = {
  node: [AGENTS, NODE],
  central: [CENTRAL],
  all: [AGENTS, NODE, CENTRAL],
};

/** The configuration file that `init` writes: every section there is for the role, as comments. */
export function initialConfig(role: Role): string {
  return `# DSAC's configuration (role: ${role}). Unknown keys are refused. Relative paths are below DSAC's home.\n\n${PARTS[role].join('\n')}`;
}

/** What `init` did with one path. */
export interface Made {
  readonly path: string;
  readonly made: boolean;
}

/** Lays out an installation for a role; answers each file and directory with whether this call made it. */
export async function init(paths: Paths, role: Role): Promise<Made[]> {
  const directories = [
    paths.etc,
    paths.lib,
    paths.log,
    ...(role === 'central' ? [] : [paths.out]),
    ...(role === 'node' ? [] : [paths.in]),
  ];
  const done: Made[] = [];
  for (const path of directories) {
    done.push({ path, made: (await realDisk.stat(path)) === undefined });
    await realDisk.mkdir(path);
  }
  for (const path of [paths.out, paths.in]) if (directories.includes(path)) await new Spool(path).create();
  const config = join(paths.etc, 'dsac.yaml');
  done.push({ path: config, made: await create(realDisk, config, Buffer.from(initialConfig(role)), 0o640) });
  const made = await createIdentity(paths);
  for (const path of identityFiles(paths)) done.push({ path, made: made.includes(path) });
  return done;
}
