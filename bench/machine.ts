/** What the figures were measured on. */
import { readFileSync, statfsSync } from 'node:fs';
import { cpus, release, tmpdir, totalmem } from 'node:os';
import { amqpUrl, mysqlUrl, onDatabase, servicesLeftOut } from '../test/helpers/services.ts';

/** The file system that `path` is on: its type, and its size. */
function fileSystem(path: string): string {
  const mounts = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' '))
    .filter(
      ([, at]) => at !== undefined && (path === at || path.startsWith(at.endsWith('/') ? at : `${at}/`)),
    );
  const [, , type] = mounts.sort(([, a], [, b]) => a!.length - b!.length).at(-1)!;
  const { blocks, bsize } = statfsSync(path);
  return `${type}, ${Math.round((blocks * bsize) / 1024 ** 3)} GiB`;
}

async function brokerVersion(): Promise<string> {
  const { default: amqplib } = await import('amqplib');
  const connection = await amqplib.connect(amqpUrl(), { timeout: 10_000 });
  const { product, version } = connection.connection.serverProperties;
  await connection.close();
  return `${product} ${version}`;
}

async function databaseVersion(): Promise<string> {
  const [row] = await onDatabase(mysqlUrl(), 'select version() as version');
  return String(row!.version);
}

/** A list of what each thing is, one a line; the servers only where they are used. */
export async function describeMachine(services: boolean): Promise<string[]> {
  const all = cpus();
  const lines = [
    `CPU: ${all[0]?.model.trim()}, ${all.length} cores`,
    `memory: ${Math.round(totalmem() / 1024 ** 3)} GiB`,
    `kernel: Linux ${release()}`,
    `file system: ${fileSystem(tmpdir())}`,
    `Node: ${process.versions.node}`,
  ];
  if (services && !servicesLeftOut) {
    lines.push(`broker: ${await brokerVersion()}`, `database: ${await databaseVersion()}`);
  }
  return lines;
}
