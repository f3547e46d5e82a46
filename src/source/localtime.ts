/**
 * Wall-clock text without a zone, as apt, dpkg, zypp and syslog write it, to UTC in the zone of the system looked at. The zone is the
 * system's (`/etc/localtime`), not that of the process: who ran a command under another `TZ` wrote other times, and no log says so.
 */
import { readlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { System } from '../host/system.ts';

const DAY = 86_400_000;
const ZONEINFO = '/usr/share/zoneinfo';
const WALL = /^(\d{4})-(\d\d)-(\d\d)[ T]+(\d\d):(\d\d):(\d\d)$/;

/** A system's local time. */
export interface LocalClock {
  /** IANA name (`Europe/Berlin`, `UTC`, `Etc/GMT-3`). */
  readonly zone: string;
  /** Where the name comes from, for people: `/etc/localtime`, or why it is UTC. */
  readonly from: string;
  /** UTC milliseconds of a wall-clock time given as if it were UTC (`Date.UTC(2026, 2, 29, 2, 30)`). */
  toUtc(wall: number): number;
  /** RFC 3339 UTC with milliseconds for `2026-11-23 02:50:16` (any number of spaces or a T between); undefined when that is no date. */
  parse(wall: string): string | undefined;
}

/** How far the zone's clocks are ahead of UTC at an instant, in milliseconds; whole seconds. */
function offsetReader(zone: string): (instant: number) => number {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone: zone,
    calendar: 'iso8601',
    numberingSystem: 'latn',
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  });
  return (instant) => {
    const part: Record<string, number> = {};
    for (const { type, value } of format.formatToParts(instant)) part[type] = Number(value);
    const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = part;
    return Date.UTC(year, month - 1, day, hour, minute, second) - Math.floor(instant / 1000) * 1000;
  };
}

/**
 * Resolves as java.time and Temporal's `compatible` do: a time that the clocks skipped is read with the offset from before the gap (it
 * lands behind it), one that they showed twice is the earlier of the two.
 */
function resolver(zone: string): (wall: number) => number {
  const offsetAt = offsetReader(zone);
  const plainDays = new Map<number, { before: number; after: number }>();
  const around = (wall: number): { before: number; after: number } => {
    const day = Math.floor(wall / DAY);
    let known = plainDays.get(day);
    if (known === undefined) {
      known = { before: offsetAt((day - 1) * DAY), after: offsetAt((day + 2) * DAY) };
      if (plainDays.size > 5000) plainDays.clear();
      plainDays.set(day, known);
    }
    return known;
  };
  return (wall) => {
    const { before, after } = around(wall);
    if (before === after || offsetAt(wall - before) === before) return wall - before;
    return offsetAt(wall - after) === after ? wall - after : wall - before;
  };
}

/** A wall-clock text as if it were UTC, or undefined when there is no such date or time of day. */
function wallMillis(wall: string): number | undefined {
  const match = WALL.exec(wall);
  if (match === null) return undefined;
  const [year, month, day, hour, minute, second] = match.slice(1).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const at = new Date(0);
  at.setUTCFullYear(year, month - 1, day);
  const isDate = at.getUTCMonth() === month - 1 && at.getUTCDate() === day;
  if (!isDate || hour > 23 || minute > 59 || second > 60) return undefined;
  return at.setUTCHours(hour, minute, Math.min(second, 59));
}

/** The clock of a zone by its IANA name. Throws `RangeError` when the name is unknown. */
export function clockOf(zone: string, from = 'given'): LocalClock {
  const toUtc = resolver(zone);
  return {
    zone,
    from,
    toUtc,
    parse(wall) {
      const at = wallMillis(wall);
      return at === undefined ? undefined : new Date(toUtc(at)).toISOString();
    },
  };
}

/** Whether `Intl` knows the zone. */
function isZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en-US', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

/** The zone in a path below any `zoneinfo` folder, without tzdata's `posix/` and `right/` copies. */
function zoneOfPath(path: string): string | undefined {
  const name = /zoneinfo\/(?:posix\/|right\/)?(.+)$/.exec(path)?.[1];
  return name !== undefined && isZone(name) ? name : undefined;
}

/**
 * The zone of a TZif footer (RFC 8536, section 3.3) without daylight saving, as `Etc/GMT…` or `UTC`; undefined for any other. POSIX counts west of
 * Greenwich as positive, and so do the `Etc/GMT` names.
 */
function fixedZone(tzif: Buffer): string | undefined {
  const footer = /\n((?:[A-Za-z]{3,}|<[^>]+>)([+-]?)(\d{1,2}))\n$/.exec(tzif.toString('latin1'));
  if (footer === null) return undefined;
  const hours = Number(footer[3]);
  const name = hours === 0 ? 'UTC' : `Etc/GMT${footer[2] === '-' ? '-' : '+'}${hours}`;
  return isZone(name) ? name : undefined;
}

/** The name below the system's own zoneinfo whose file has these bytes. */
async function zoneWithBytes(system: System, tzif: Buffer, folder = ''): Promise<string | undefined> {
  for (const entry of (await system.list(join(ZONEINFO, folder))) ?? []) {
    const name = join(folder, entry);
    if (folder === '' && ['posix', 'right', 'localtime', 'posixrules'].includes(entry)) continue;
    const stat = await system.stat(join(ZONEINFO, name));
    if (stat?.isDirectory()) {
      const found = await zoneWithBytes(system, tzif, name);
      if (found !== undefined) return found;
    } else if (stat?.size === tzif.length && (await system.read(join(ZONEINFO, name)))?.equals(tzif)) {
      if (isZone(name)) return name;
    }
  }
  return undefined;
}

/** The zone that `/etc/localtime` links to. */
async function linkedZone(system: System): Promise<string | undefined> {
  try {
    return zoneOfPath(await readlink(join(await system.path('/etc'), 'localtime')));
  } catch {
    return undefined;
  }
}

/**
 * The local time of a system. In this order: the link `/etc/localtime`; when that is a copy, `/etc/timezone`, the zoneinfo file with
 * the same bytes, the copy's own rule when it is a fixed offset. UTC when the system has none of these, as the C library does.
 */
export async function localClock(system: System): Promise<LocalClock> {
  const linked = await linkedZone(system);
  if (linked !== undefined) return clockOf(linked, '/etc/localtime');
  const named = (await system.read('/etc/timezone'))?.toString('latin1').trim();
  if (named !== undefined && named !== '' && isZone(named)) return clockOf(named, '/etc/timezone');
  const tzif = await system.read('/etc/localtime');
  if (tzif === undefined) return clockOf('UTC', 'no /etc/localtime');
  const same = await zoneWithBytes(system, tzif);
  if (same !== undefined) return clockOf(same, `/etc/localtime, same as ${ZONEINFO}/${same}`);
  const fixed = fixedZone(tzif);
  if (fixed !== undefined) return clockOf(fixed, '/etc/localtime, its fixed offset');
  return clockOf('UTC', '/etc/localtime is a zone without a name');
}
