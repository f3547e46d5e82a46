/** Packages of pacman, from its local database: a directory per package, whose `desc` holds `%SECTION%`, values, empty line. */
import { stamp } from '../../host/stamp.ts';
import type { System } from '../../host/system.ts';
import { text } from '../../host/text.ts';
import { absent } from '../../plugin/agent.ts';
import { type Package, type PackageContext, present, timeOfSeconds, wholeNumber } from './package.ts';

const DATABASE = '/var/lib/pacman/local';
/** The database's version since pacman 4.2 (2014), in its file ALPM_DB_VERSION. */
const DATABASE_VERSION = '9';

/** The sections of a `desc`. Throws when it ends inside a section: then it was cut. */
function sectionsOf(desc: string): Map<string, string[]> {
  const sections = new Map<string, string[]>();
  let values: string[] | undefined;
  for (const line of desc.split('\n').slice(0, -1)) {
    const [, title] = /^%([^%]+)%$/.exec(line) ?? [];
    if (line === '') values = undefined;
    else if (values !== undefined) values.push(line);
    else if (title !== undefined) {
      values = [];
      sections.set(title, values);
    } else throw new Error(`expected %SECTION%, found '${line.slice(0, 40)}'`);
  }
  if (desc === '') throw new Error('it is empty');
  if (values !== undefined || !desc.endsWith('\n')) throw new Error('it ends inside a section; it was cut');
  return sections;
}

/** One package's `desc`, from the database's directory `directory` (name-version). Throws when the two do not agree. */
export function parsePacmanDesc(desc: Buffer, directory: string): Package {
  const sections = sectionsOf(text(desc));
  const get = (title: string): string | undefined => sections.get(title)?.[0];
  const [name, version] = [get('NAME'), get('VERSION')];
  if (`${name}-${version}` !== directory) {
    throw new Error(`expected name and version of '${directory}', found '${name}' and '${version}'`);
  }
  return {
    name: name!,
    arch: get('ARCH') ?? 'none',
    fields: present({
      version: version!,
      source: get('BASE'),
      status: 'installed',
      size: wholeNumber(get('SIZE')),
      maintainer: get('PACKAGER'),
      installed: timeOfSeconds(get('INSTALLDATE')),
      summary: get('DESC'),
    }),
  };
}

async function readPackage(system: System, directory: string): Promise<Package> {
  const path = `${DATABASE}/${directory}/desc`;
  const desc = await system.read(path);
  if (desc === undefined) throw new Error(`no ${path}: the package there is not known`);
  try {
    return parsePacmanDesc(desc, directory);
  } catch (error) {
    throw new Error(`${path}: ${(error as Error).message}`, { cause: error });
  }
}

/** The packages in pacman's local database below the system's root. */
export async function pacmanPackages({ system, restsOn }: PackageContext): Promise<Package[]> {
  restsOn(await stamp(system, [`${DATABASE}/**`]));
  const entries = await system.list(DATABASE);
  if (entries === undefined) return absent(`no ${DATABASE}`);
  const version = (await system.read(`${DATABASE}/ALPM_DB_VERSION`))?.toString().trim();
  if (version !== undefined && version !== DATABASE_VERSION) {
    throw new Error(
      `${DATABASE}/ALPM_DB_VERSION: expected ${DATABASE_VERSION}, found '${text(Buffer.from(version))}'`,
    );
  }
  const packages: Package[] = [];
  for (const entry of entries) {
    if ((await system.stat(`${DATABASE}/${entry}`))?.isDirectory())
      packages.push(await readPackage(system, entry));
  }
  return packages;
}
