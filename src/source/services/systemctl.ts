/**
 * Reads what `systemctl` of any version from 219 on says about units. Its machine-readable `show` is the same in all of them; JSON
 * output is not. Properties that may hold secrets (Environment, ExecStart) are never asked for.
 */
import type { System } from '../../host/system.ts';
import { text } from '../../host/text.ts';

/** The units that run or start something. Mounts, devices, slices and scopes follow the machine and its sessions; targets do nothing by themselves. */
export const UNIT_TYPES = ['service', 'socket', 'timer', 'path'] as const;

const PROPERTIES = [
  'Id',
  'Names',
  'Type',
  'LoadState',
  'ActiveState',
  'SubState',
  'UnitFileState',
  'FragmentPath',
  'DropInPaths',
  'Result',
  'InvocationID',
  'NRestarts',
  'RemainAfterExit',
  'Transient',
  'Accept',
  'TriggeredBy',
  'BusName',
  'WantedBy',
  'RequiredBy',
  'ActiveEnterTimestamp',
  'InactiveEnterTimestamp',
] as const;

/** Arguments that make systemctl show every loaded unit. Patterns, not `--type`: old versions ignore that here. */
const SHOW_UNITS: readonly string[] = [
  'show',
  '--all',
  '--no-pager',
  `--property=${PROPERTIES.join(',')}`,
  ...UNIT_TYPES.map((type) => `*.${type}`),
];

/** Arguments that make systemctl list every unit file, loaded or not. */
const LIST_UNIT_FILES: readonly string[] = [
  'list-unit-files',
  '--no-legend',
  '--no-pager',
  '--full',
  `--type=${UNIT_TYPES.join(',')}`,
];

/** Properties of one unit as systemctl printed them; one that the version or the unit's type does not have is absent. */
type Lines = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
export type Properties = Partial<Record<(typeof PROPERTIES)[number], string>>;

const STAMP = /^(?:[A-Z][a-z]{2} )?(\d{4}-\d{2}-\d{2}) (\d{2}:\d{2}:\d{2})(?:\.(\d{3})\d*)? (?:UTC|GMT|Z)$/;
const UNIX_STAMP = /^@(\d{1,11})(?:\.(\d{3})\d*)?$/;

/** A time of `systemctl` (`Tue 2026-11-24 03:41:13 UTC`, `@1795402338`) as RFC 3339; undefined for none (empty, `n/a`, `0`). */
export function parseStamp(stamp: string | undefined): string | undefined {
  const [, day, clock, millis = '000'] = STAMP.exec(stamp ?? '') ?? [];
  const time = `${day}T${clock}.${millis}Z`;
  if (day !== undefined) return Number.isFinite(Date.parse(time)) ? time : undefined;
  const [, seconds, fraction = '000'] = UNIX_STAMP.exec(stamp ?? '') ?? [];
  return seconds === undefined || seconds === '0'
    ? undefined
    : new Date(Number(seconds) * 1000 + Number(fraction)).toISOString();
}

/** A word in systemctl's lists: bare, or in double quotes with backslashes doubled. */
const WORD = /"((?:[^"\\]|\\.)*)"|(\S+)/g;

/** The words of a list property (`Names=`, `DropInPaths=`). */
export function parseWords(list: string | undefined): string[] {
  return Array.from((list ?? '').matchAll(WORD), ([, quoted, bare]) =>
    quoted === undefined ? bare! : quoted.replace(/\\(.)/g, '$1'),
  );
}

/** The properties of each unit that `systemctl show` printed: `Name=value` lines, units apart by an empty line. */
export async function parseShow(lines: Lines): Promise<Properties[]> {
  const units: Record<string, string>[] = [{}];
  for await (const line of lines) {
    const [, name, value] = /^([A-Za-z]+)=(.*)$/s.exec(text(line)) ?? [];
    if (name !== undefined) units.at(-1)![name] = value!;
    else if (line.length === 0) units.push({});
  }
  return units.filter((unit) => unit.Id !== undefined);
}

/** Unit files and their states (`enabled`, `masked`, …), as `systemctl list-unit-files` printed them. */
export async function parseUnitFiles(lines: Lines): Promise<Map<string, string>> {
  const states = new Map<string, string>();
  for await (const line of lines) {
    const [name = '', state] = text(line).trim().split(/\s+/);
    if (state !== undefined && isUnitName(name)) states.set(name, state);
  }
  return states;
}

function isUnitName(name: string): boolean {
  return UNIT_TYPES.some((type) => name.endsWith(`.${type}`));
}

/** Every loaded unit. Throws when systemctl fails, midway too, or shows none: half a list must not look like removals. */
export async function loadedUnits(
  system: System,
  systemctl: string,
  signal: AbortSignal,
): Promise<Properties[]> {
  const units = await parseShow(system.lines(systemctl, SHOW_UNITS, { signal }));
  if (units.length === 0)
    throw new Error(`${systemctl} show: no unit, expected one at least; see what systemctl status says`);
  return units;
}

/** Every unit file below the system's root with its state; asks systemd itself when `isBooted`, else looks at the files. */
export async function unitFiles(
  system: System,
  systemctl: string,
  { signal, isBooted }: { readonly signal: AbortSignal; readonly isBooted: boolean },
): Promise<Map<string, string>> {
  const where = isBooted ? [] : [`--root=${system.root}`];
  return parseUnitFiles(system.lines(systemctl, [...where, ...LIST_UNIT_FILES], { signal }));
}
