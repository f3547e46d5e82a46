/** Packages of dpkg, as dpkg-query tells them: it merges `status` with what is still in `updates/`. */
import { stamp } from '../../host/stamp.ts';
import type { System } from '../../host/system.ts';
import { absent } from '../../plugin/agent.ts';
import { wholeOutput } from '../output.ts';
import { type Package, type PackageContext, present, timeOfSeconds, wholeNumber } from './package.ts';
import { type Tagged, taggedRecords } from './tagged.ts';

const ADMINDIR = '/var/lib/dpkg';
/** All that `dpkg-query --show` reads; of a file list its time. */
const FILES = ['arch', 'info/format', 'info/*.list', 'status', 'triggers/*', 'updates/*'].map(
  (file) => `${ADMINDIR}/${file}`,
);

/** What each line of a record is asked for; `Status` rather than its parts, which dpkg before 1.17 does not know. */
const FIELDS = {
  P: 'Package',
  A: 'Architecture',
  V: 'Version',
  S: 'Status',
  o: 'source:Package',
  O: 'source:Version',
  I: 'Installed-Size',
  m: 'Maintainer',
  t: 'db-fsys:Last-Modified',
  T: 'binary:Synopsis',
} as const;

const FORMAT = `${Object.entries(FIELDS)
  .map(([tag, field]) => `${tag}:\${${field}}\\n`)
  .join('')}\\n`;

/** One record as a package. Status is three words: what is wanted, `ok` or `reinstreq`, what is. Installed-Size is in KiB. */
function packageOf(record: Tagged): Package {
  const get = (tag: keyof typeof FIELDS): string => record.get(tag) ?? '';
  const [want = '', flag, status = ''] = get('S').split(' ');
  if (get('P') === '' || status === '') {
    throw new Error(`dpkg-query: a package without name or status: '${get('P')}', '${get('S')}'`);
  }
  return {
    name: get('P'),
    arch: get('A') || 'none',
    fields: present({
      version: get('V'),
      source: get('o'),
      source_version: get('O') === get('V') ? undefined : get('O'),
      status,
      want,
      reinst_required: flag === 'reinstreq' ? true : undefined,
      size: wholeNumber(get('I'), 1024),
      maintainer: get('m'),
      installed: status === 'config-files' ? undefined : timeOfSeconds(get('t')),
      summary: get('T'),
    }),
  };
}

/** The packages in what dpkg-query printed. A field may be folded: its further lines start with white space. */
export function parseDpkgQuery(output: Buffer): Package[] {
  const tags = Object.keys(FIELDS).join('');
  const records = taggedRecords(output, {
    name: 'dpkg-query',
    tags,
    continues: (_, line) => /^[ \t]/.test(line),
  });
  return Array.from(records, packageOf);
}

/** Where the database of `system` is. dpkg-query follows links as the running machine does, so a link out of another tree is refused. */
async function admindir(system: System): Promise<string> {
  const path = await system.path(ADMINDIR);
  for (const file of ['status', 'updates', 'info']) {
    const real = await system.path(`${ADMINDIR}/${file}`);
    if (!system.live && real !== `${path}/${file}`) {
      throw new Error(`${path}/${file}: a symbolic link to ${real}; expected a file of dpkg's own`);
    }
  }
  return path;
}

/** A database without packages beside the file lists of packages was emptied: that is no machine where dpkg is unused. */
async function refuseEmptied(system: System): Promise<void> {
  const lists = (await system.list(`${ADMINDIR}/info`))?.filter((name) => name.endsWith('.list')) ?? [];
  if (lists.length > 0) {
    throw new Error(
      `${ADMINDIR}/status holds no packages, but ${ADMINDIR}/info has the file lists of ${lists.length}: look whether it was cut or overwritten`,
    );
  }
}

/** Every row of `dpkg-query --show`: all but packages that are not installed and left nothing behind. */
export async function dpkgPackages({ system, signal, restsOn }: PackageContext): Promise<Package[]> {
  const files = await stamp(system, FILES);
  if ((await system.stat(`${ADMINDIR}/status`)) === undefined) {
    restsOn(files);
    absent(`no ${ADMINDIR}/status`);
  }
  const dpkgQuery = await system.which('dpkg-query');
  if (dpkgQuery === undefined) absent(`no dpkg-query command here to read ${ADMINDIR} with`);
  const args = [`--admindir=${await admindir(system)}`, '--show', `--showformat=${FORMAT}`];
  const packages = parseDpkgQuery((await wholeOutput(system, dpkgQuery, args, signal)).stdout);
  if (packages.length === 0) await refuseEmptied(system);
  restsOn(files);
  return packages;
}
