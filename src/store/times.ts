/**
 * How the store writes a time: `2026-11-23 02:00:00.123`, UTC. It is what MySQL's DATETIME(3) reads and prints and what SQLite's date
 * functions take, so one SQL text works on both, the order of the text is the order of time, and Grafana sees a time column.
 */

/** `2026-11-23T02:00:00.123Z`, as batches carry it, as the store writes it. */
export function toStored(time: string): string {
  return `${time.slice(0, 10)} ${time.slice(11, 23)}`;
}

/** A time from the store as batches carry it. */
export function fromStored(time: string): string {
  return `${time.slice(0, 10)}T${time.slice(11, 23)}Z`;
}

const FIRST = Date.parse('0000-01-01T00:00:00.000Z');
const LAST = Date.parse('9999-12-31T23:59:59.999Z');

/** A moment as the store writes it; one before the year 0 or behind 9999, which has no such text, as the first or last that has. */
export function storedDate(date: Date): string {
  return toStored(new Date(Math.min(Math.max(date.getTime(), FIRST), LAST)).toISOString());
}

/** A stored time as milliseconds since 1970. */
export function storedMs(time: string): number {
  return Date.parse(fromStored(time));
}

/** A node's word for the time, as stored; `now`, as stored, where its clock is ahead. */
export function notAfter(now: string, time: string): string {
  const told = toStored(time);
  return told < now ? told : now;
}
