import { DsacError } from '../errors.ts';

const UNITS: Record<string, number> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};
const DURATION = /^(?:(\d+(?:\.\d+)?)(ms|[smhdw]))+$/;
const PART = /(\d+(?:\.\d+)?)(ms|[smhdw])/g;
const ZONED = /^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:[Zz]|[+-]\d{2}:\d{2})$/;
const DAY = /^\d{4}-\d{2}-\d{2}$/;

/** What a person may write for a length of time, for error messages. */
export const DURATION_FORMS = 'a number and a unit, such as 90s, 15m, 36h, 7d, 2w or 1h30m';
/** What a person may write for a moment, for error messages. */
export const TIME_FORMS =
  'a time ago (7d, 36h, 90m), a date (2026-11-01, UTC) or RFC 3339 (2026-11-01T08:30:00Z)';

/** Milliseconds in a duration such as `7d`, `36h` or `1h30m`; undefined when it is not one. */
export function parseDuration(text: string): number | undefined {
  if (!DURATION.test(text)) return undefined;
  let total = 0;
  for (const [, amount, unit] of text.matchAll(PART)) total += Number(amount) * UNITS[unit ?? '']!;
  return Number.isSafeInteger(Math.round(total)) ? Math.round(total) : undefined;
}

const midnight = (day: string): Date => new Date(`${day}T00:00:00.000Z`);

/** Whether text is a date that exists: JavaScript takes the 31st of February for the 3rd of March. */
function isDay(text: string): boolean {
  if (!DAY.test(text)) return false;
  const date = midnight(text);
  return Number.isFinite(date.getTime()) && date.toISOString().startsWith(text);
}

/**
 * The moment that `text` names: a duration before `now` (1970 at the earliest), a date (its midnight in UTC) or an RFC 3339 time.
 * `what` names the option in the error (kind `usage`) thrown for anything else, dates that do not exist included.
 */
export function parseTime(text: string, now: Date, what: string): Date {
  const ago = parseDuration(text);
  if (ago !== undefined) {
    return new Date(Math.max(0, now.getTime() - ago));
  }
  if (isDay(text)) return midnight(text);
  if (ZONED.test(text) && isDay(text.slice(0, 10))) {
    const date = new Date(text.replace(' ', 'T'));
    if (Number.isFinite(date.getTime())) return date;
  }
  throw new DsacError('usage', `${what}: '${text}' is not a time`, { hint: `use ${TIME_FORMS}` });
}

/** A duration in the largest units that give whole numbers: `1h30m`, `7d`. */
export function formatDuration(ms: number): string {
  let rest = ms;
  let out = '';
  for (const unit of ['d', 'h', 'm', 's', 'ms']) {
    const amount = Math.floor(rest / UNITS[unit]!);
    if (amount > 0) out += `${amount}${unit}`;
    rest -= amount * UNITS[unit]!;
  }
  return out || '0s';
}

/** Milliseconds from `time` to `now`; endless when there is none, or when it lies ahead (the clock went back). */
export function elapsed(time: string | null, now: Date): number {
  if (time === null) return Number.POSITIVE_INFINITY;
  const ms = now.getTime() - Date.parse(time);
  return ms < 0 ? Number.POSITIVE_INFINITY : ms;
}
