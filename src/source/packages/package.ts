/** One package as a manager's database has it, whichever manager that is. */
import * as z from 'zod';
import type { AgentContext } from '../../plugin/agent.ts';
import { timeSchema } from '../../spool/batch.ts';
import { compareVersions, type Manager } from './version.ts';

export const packageFields = z.strictObject({
  version: z
    .string()
    .optional()
    .describe(
      '[epoch:]version[-release] as the manager writes it, epoch 0 left out; absent when the manager has none',
    ),
  source: z.string().optional().describe('name of the source package it was built from'),
  source_version: z
    .string()
    .optional()
    .describe('version of the source package, where it differs from version'),
  status: z
    .string()
    .describe(
      'dpkg: not-installed, config-files (removed, configuration kept), half-installed, unpacked, half-configured, triggers-awaited, triggers-pending or installed; apk: installed, or broken when files or scripts failed; else installed',
    ),
  want: z
    .string()
    .optional()
    .describe('dpkg: what was selected for it: unknown, install, hold, deinstall or purge'),
  reinst_required: z.literal(true).optional().describe('dpkg: broken, must be installed again'),
  size: z.int().min(0).optional().describe('installed size in bytes, as the package declares it'),
  vendor: z.string().optional().describe('who distributes it'),
  maintainer: z.string().optional().describe('who maintains or packaged it'),
  installed: timeSchema
    .optional()
    .describe(
      'when this version was installed, to the second; dpkg: when its file list was written, which unpacking does; unknown to apk',
    ),
  summary: z.string().optional().describe('what it is, in one line'),
});

export type PackageFields = z.infer<typeof packageFields>;

/** What a reader of packages needs of its agent's context. */
export type PackageContext = Pick<AgentContext, 'system' | 'signal' | 'restsOn'>;

export interface Package {
  readonly name: string;
  /** As the manager says it: `amd64`, `all`, `noarch`; `none` when it says nothing. */
  readonly arch: string;
  /** Several versions of it are meant to be installed side by side: kernels, rpm's public keys. */
  readonly several?: boolean;
  readonly fields: PackageFields;
}

/** The fields that have a value; what a database leaves empty is left out. */
export function present(fields: { readonly [K in keyof PackageFields]: PackageFields[K] }): PackageFields {
  return Object.fromEntries(
    Object.entries(fields).filter(([, value]) => value !== undefined && value !== ''),
  ) as PackageFields;
}

/** A count written in decimal digits times `unit`, or undefined when it is anything else. */
export function wholeNumber(digits: string | undefined, unit = 1): number | undefined {
  return digits !== undefined && /^\d{1,12}$/.test(digits) ? Number(digits) * unit : undefined;
}

/** Seconds since 1970 as a time, or undefined when they are no number or beyond year 9999. */
export function timeOfSeconds(digits: string | undefined): string | undefined {
  const seconds = wholeNumber(digits);
  return seconds === undefined || seconds === 0 || seconds >= 253_402_300_800
    ? undefined
    : new Date(seconds * 1000).toISOString();
}

/**
 * Names each package: `name/arch`, with `/version` behind it where one alone would not be unique. Packages of which several are meant
 * to coexist always carry their version. Where others do, the oldest version keeps the plain name, so that a second one that comes or
 * goes leaves the first as it was; what is still alike is numbered.
 */
export function* named(manager: Manager, packages: readonly Package[]): Generator<[string, Package]> {
  const groups = Map.groupBy(packages, ({ name, arch }) => `${name}/${arch}`);
  for (const [plain, group] of groups) {
    const taken = new Set<string>();
    const versionOf = (one: Package): string => one.fields.version ?? 'none';
    group.sort((a, b) => compareVersions(manager, versionOf(a), versionOf(b)));
    for (const one of group) {
      const wanted = one.several || taken.size > 0 ? `${plain}/${versionOf(one)}` : plain;
      let name = wanted;
      for (let n = 2; taken.has(name); n++) name = `${wanted}/${n}`;
      taken.add(name);
      yield [name, one];
    }
  }
}
