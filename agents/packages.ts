/**
 * Installed packages. An item is `manager/name/arch`; of packages that may be there in several versions (rpm's kernels and public keys) it
 * is `manager/name/arch/version`, always, so that a new kernel is an arrival and not a change of the old one.
 */
import * as z from 'zod';
import { keyText } from '../src/host/text.ts';
import {
  absent,
  type Change,
  defineInventory,
  type InventorySource,
  type Step,
} from '../src/plugin/agent.ts';
import { apkPackages } from '../src/source/packages/apk.ts';
import { dpkgPackages } from '../src/source/packages/dpkg.ts';
import {
  named,
  type Package,
  type PackageContext,
  type PackageFields,
  packageFields,
} from '../src/source/packages/package.ts';
import { pacmanPackages } from '../src/source/packages/pacman.ts';
import { rpmPackages } from '../src/source/packages/rpm.ts';
import { compareVersions, type Manager } from '../src/source/packages/version.ts';

/**
 * A manager's packages as items. A database without any is "absent": no manager removes its last package, so an empty one belongs to a
 * manager that is installed but unused, or was lost, and in neither case were all packages removed.
 */
function source(
  manager: Manager,
  read: (context: PackageContext) => Promise<Package[]>,
): InventorySource<object, PackageFields> {
  return async function* (context) {
    const packages = await read(context);
    if (packages.length === 0) absent(`the ${manager} database holds no packages`);
    for (const [name, { fields }] of named(manager, packages)) {
      yield { key: keyText(`${manager}/${name}`), fields };
    }
  };
}

const isThere = (fields: PackageFields | undefined): boolean =>
  fields !== undefined && fields.status !== 'config-files';

/** What became of a package that was there and still is, but for what is wanted of it; undefined when nothing did. */
function renewal(manager: Manager, before: PackageFields, after: PackageFields): string | undefined {
  const [from, to] = [before.version, after.version];
  const order = from === undefined || to === undefined ? 0 : compareVersions(manager, to, from);
  if (order !== 0) return order > 0 ? 'upgraded' : 'downgraded';
  if (from === to && before.installed && after.installed && before.installed !== after.installed) {
    return 'reinstalled';
  }
  if (before.status !== after.status || before.reinst_required !== after.reinst_required) {
    return 'status-changed';
  }
  return changedFields(before, after).length > 0 ? 'changed' : undefined;
}

/** Names of the fields that differ, but for `want`. */
function changedFields(before: PackageFields, after: PackageFields): (keyof PackageFields)[] {
  const names = Object.keys({ ...before, ...after }) as (keyof PackageFields)[];
  return names.filter((name) => name !== 'want' && before[name] !== after[name]);
}

/** The steps of a package that was there and still is. A hold is lifted before the version changes, and set after. */
function kept(manager: Manager, before: PackageFields, after: PackageFields): Step<PackageFields>[] {
  const steps: Step<PackageFields>[] = [];
  const unheld = before.want === 'hold' && after.want !== 'hold';
  if (unheld) steps.push({ action: 'unheld', fields: ['want'] });
  const action = renewal(manager, before, after);
  if (action !== undefined) {
    const time = before.installed === after.installed ? undefined : after.installed;
    steps.push({ action, fields: changedFields(before, after), time });
  }
  if (!unheld && before.want !== after.want) {
    steps.push({ action: after.want === 'hold' ? 'held' : 'status-changed', fields: ['want'] });
  }
  return steps;
}

/** Names a change. A package with nothing left but its configuration counts as not there. */
function describe({
  source,
  before,
  after,
}: Change<PackageFields>): Step<PackageFields> | Step<PackageFields>[] {
  if (after === undefined) return { action: isThere(before) ? 'removed' : 'purged' };
  if (!isThere(after))
    return { action: isThere(before) || before === undefined ? 'removed' : 'status-changed' };
  if (before === undefined || !isThere(before)) return { action: 'installed', time: after.installed };
  return kept(source as Manager, before, after);
}

export default defineInventory({
  name: 'packages',
  summary: 'installed packages of dpkg, rpm, apk and pacman, whichever are there',
  every: '1h',
  options: z.strictObject({}),
  fields: packageFields,
  actions: {
    installed: 'was not there and is now (its status says whether it is ready for use)',
    upgraded: "has a newer version, in its manager's own order",
    downgraded: "has an older version, in its manager's own order",
    reinstalled:
      'the same version was installed again (dpkg: its file list was written again, which a package that replaces its files does too)',
    removed: 'was there and is not any more; dpkg may keep its configuration (status config-files)',
    purged: 'the configuration that its removal had left is gone too',
    held: 'was put on hold: dpkg will not change it by itself',
    unheld: 'is on hold no more',
    'status-changed':
      'its state, or what is wanted of it, changed: half-configured, triggers-pending, deinstall',
    changed: 'other fields changed',
  },
  describe,
  sources: {
    dpkg: source('dpkg', dpkgPackages),
    rpm: source('rpm', rpmPackages),
    apk: source('apk', apkPackages),
    pacman: source('pacman', pacmanPackages),
  },
});
