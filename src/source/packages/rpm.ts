/** Packages of rpm, as the rpm command tells them: its database has had three formats, and the command knows which. */
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stamp } from '../../host/stamp.ts';
import type { System } from '../../host/system.ts';
import { absent } from '../../plugin/agent.ts';
import { wholeOutput } from '../output.ts';
import { type Package, type PackageContext, present, timeOfSeconds, wholeNumber } from './package.ts';
import { type Tagged, taggedRecords } from './tagged.ts';

/** Where the database is: Fedora and SUSE now, all before, and image-based systems. */
const DIRECTORIES = ['/usr/lib/sysimage/rpm', '/var/lib/rpm', '/usr/share/rpm'];
const SQLITE = 'rpmdb.sqlite';
/** The file that makes a database of each format: sqlite, ndb, Berkeley DB. */
const DATABASE_FILES = [SQLITE, 'Packages.db', 'Packages'];

const FIELDS = {
  N: 'NAME',
  E: 'EPOCH',
  V: 'VERSION',
  R: 'RELEASE',
  A: 'ARCH',
  o: 'SOURCERPM',
  I: 'LONGSIZE',
  v: 'VENDOR',
  m: 'PACKAGER',
  t: 'INSTALLTIME',
  T: 'SUMMARY',
} as const;

/** Every value quoted as for a shell, so that no text in a package can end its line or forge another; last what it provides. */
const FORMAT = `${Object.entries(FIELDS)
  .map(([tag, field]) => `${tag}:%{${field}:shescape}\\n`)
  .join('')}p:[%{PROVIDENAME:shescape} ]\\n\\n`;

/** Names of which yum keeps several versions (its `installonlypkgs`), and rpm's imported public keys. */
const SEVERAL_NAMES =
  /^(?:gpg-pubkey|kernel(?:-(?:PAE|PAE-debug|bigmem|debug|devel|enterprise|modules|smp|source|unsupported))?)$/;
/** What packages provide of which dnf (`installonlypkgs`) or zypper (`multiversion`) keeps several versions. */
const SEVERAL_PROVIDES = /'(?:kernel|kernel-PAE|installonlypkg\([^)]*\)|multiversion\(kernel\))'/;

/** Quoted text, quotes escaped outside it, and bare numbers or `(none)`, in any order, with every quote closed. */
const CLOSED = /^(?:'[^']*'|\\'|[^'\\])*$/;

/** A value as rpm quoted it, or undefined for rpm's bare `(none)`. */
function unquoted(value: string | undefined): string | undefined {
  if (value === undefined || value === '(none)') return undefined;
  return value.replace(/'([^']*)'|\\(')/g, (_, inside?: string, quote?: string) => inside ?? quote ?? '');
}

/** Name and version-release in the file name of a source package, or the name as it is when it has another form. */
function sourceOf(file: string | undefined): { name: string | undefined; version: string | undefined } {
  const [, name, version] = /^(.+)-([^-]+-[^-]+)\.(?:no)?src\.rpm$/.exec(file ?? '') ?? [];
  return { name: name ?? file, version };
}

function packageOf(record: Tagged): Package {
  const get = (tag: keyof typeof FIELDS): string | undefined => unquoted(record.get(tag));
  const [name, epoch = '0', version, release] = [get('N'), get('E'), get('V'), get('R')];
  if (!name || !version) throw new Error(`rpm: a package without name or version: '${name}', '${version}'`);
  const built = release === undefined ? version : `${version}-${release}`;
  const source = sourceOf(get('o'));
  return {
    name,
    arch: get('A') ?? 'none',
    several: SEVERAL_NAMES.test(name) || SEVERAL_PROVIDES.test(record.get('p') ?? ''),
    fields: present({
      version: epoch === '0' ? built : `${epoch}:${built}`,
      source: source.name,
      source_version: source.version === built ? undefined : source.version,
      status: 'installed',
      size: wholeNumber(get('I')),
      vendor: get('v'),
      maintainer: get('m'),
      installed: timeOfSeconds(get('t')),
      summary: get('T'),
    }),
  };
}

/** The packages in what rpm printed by the agent's own query format. */
export function parseRpmQuery(output: Buffer): Package[] {
  const tags = `${Object.keys(FIELDS).join('')}p`;
  const records = taggedRecords(output, { name: 'rpm', tags, continues: (value) => !CLOSED.test(value) });
  return Array.from(records, packageOf);
}

interface Database {
  readonly directory: string;
  /** Which of the files that make a database are in it. */
  readonly files: readonly string[];
}

async function findDatabase(system: System): Promise<Database | undefined> {
  for (const directory of DIRECTORIES) {
    const files = (await system.list(directory))?.filter((name) => DATABASE_FILES.includes(name)) ?? [];
    if (files.length > 0) return { directory, files };
  }
  return undefined;
}

/** Calls `use` with a copy of the database, since rpm writes beside a database that it reads; Berkeley DB's shared memory stays behind. */
async function withCopy<T>(system: System, directory: string, use: (copy: string) => Promise<T>): Promise<T> {
  const copy = await mkdtemp(join(tmpdir(), 'dsac-rpm-'));
  try {
    for (const name of (await system.list(directory)) ?? []) {
      const path = `${directory}/${name}`;
      if (/^(?:__db\.|\.)/.test(name) || !(await system.stat(path))?.isFile()) continue;
      await copyFile(await system.path(path), join(copy, name));
    }
    return await use(copy);
  } finally {
    await rm(copy, { recursive: true, force: true });
  }
}

/** Rows in the table of packages of an sqlite database. */
async function countRows(file: string): Promise<number> {
  const { DatabaseSync } = await import('node:sqlite');
  const database = new DatabaseSync(file, { readOnly: true });
  try {
    return Number(database.prepare('SELECT count(*) AS n FROM Packages').get()?.n);
  } finally {
    database.close();
  }
}

/** rpm exits 0 without a row when it lacks the database's format: no rows are believed only where the database itself has none. */
async function query(
  rpm: string,
  system: System,
  { directory, files }: Database,
  signal: AbortSignal,
): Promise<Package[]> {
  const args = ['--query', '--all', '--nosignature', '--dbpath', directory, '--queryformat', FORMAT];
  const { stdout, stderr } = await wholeOutput(system, rpm, args, signal);
  const packages = parseRpmQuery(stdout);
  if (packages.length > 0) return packages;
  if (files.some((file) => file !== SQLITE) || (await countRows(join(directory, SQLITE))) > 0) {
    const said = stderr.trim() === '' ? 'said nothing' : `said: ${stderr.trim().slice(0, 500)}`;
    throw new Error(
      `${rpm} found no package in ${files.join(', ')} and ${said}; expected at least one: it may not support the database's format`,
    );
  }
  return [];
}

/** Every package that rpm lists. Its databases are partly written through memory, which a file's times need not tell: they are always read. */
export async function rpmPackages({ system, signal, restsOn }: PackageContext): Promise<Package[]> {
  const folders = await stamp(
    system,
    DIRECTORIES.map((directory) => `${directory}/*`),
  );
  const database = await findDatabase(system);
  if (database === undefined) {
    restsOn(folders);
    return absent(`no rpm database in ${DIRECTORIES.join(', ')}`);
  }
  const rpm = await system.which('rpm');
  if (rpm === undefined) return absent(`no rpm command here to read ${database.directory} with`);
  if (system.live) return query(rpm, system, database, signal);
  return withCopy(system, database.directory, (directory) =>
    query(rpm, system, { ...database, directory }, signal),
  );
}
