/** Packages of apk, from its text database `installed`: records of `X:value` lines, file lists among them. */
import { stamp } from '../../host/stamp.ts';
import { absent } from '../../plugin/agent.ts';
import { type Package, type PackageContext, present, wholeNumber } from './package.ts';
import { type Tagged, taggedRecords } from './tagged.ts';

/** Where the database is: Alpine before and after the merge of /lib into /usr/lib. */
const DATABASES = ['/lib/apk/db/installed', '/usr/lib/apk/db/installed'];

/** P name, V version, A architecture, o origin, I installed bytes, m maintainer, T description; f flags: f files, s scripts, x attributes broken. */
const TAGS = 'PVAoImTf';

function packageOf(record: Tagged, file: string): Package {
  const [name, version] = [record.get('P'), record.get('V')];
  if (!name || !version) {
    throw new Error(`${file}: a package without ${name ? 'version (V:)' : 'name (P:)'}: ${name ?? version}`);
  }
  return {
    name,
    arch: record.get('A') || 'none',
    fields: present({
      version,
      source: record.get('o'),
      status: /[fsx]/.test(record.get('f') ?? '') ? 'broken' : 'installed',
      size: wholeNumber(record.get('I')),
      maintainer: record.get('m'),
      summary: record.get('T'),
    }),
  };
}

/** The packages in apk's database. Throws when it is cut or damaged: apk itself would drop the last record of a cut file in silence. */
export function parseApkInstalled(bytes: Buffer, file = 'installed'): Package[] {
  return Array.from(taggedRecords(bytes, { name: file, tags: TAGS }), (record) => packageOf(record, file));
}

/** The packages in apk's database below the system's root. */
export async function apkPackages({ system, restsOn }: PackageContext): Promise<Package[]> {
  restsOn(await stamp(system, DATABASES));
  for (const file of DATABASES) {
    const bytes = await system.read(file);
    if (bytes !== undefined) return parseApkInstalled(bytes, file);
  }
  return absent(`no ${DATABASES.join(' or ')}`);
}
