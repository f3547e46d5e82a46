/**
 * Says of most valid events at once that they are valid. `eventSchema` is the reference, for what an event is and for what is wrong with one: whatever is
 * not known here to be right is left to it. Checking by it costs several times what parsing the line does.
 */
import { type BatchEvent, isFields } from './batch.ts';

const NAME = /^[a-z][a-z0-9-]{0,63}$/;
/** Longest item, in UTF-16 units, as zod counts. */
const MAX_ITEM = 512;
const DAYS = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
const ZERO = 0x30;

type Check = (value: unknown) => boolean;

/** The number that `digits` digits of `text` from `at` make; NaN when one is none. */
function digits(text: string, at: number, count: number): number {
  let number = 0;
  for (let i = at; i < at + count; i++) {
    const digit = text.charCodeAt(i) - ZERO;
    if (!(digit >= 0 && digit <= 9)) return Number.NaN;
    number = number * 10 + digit;
  }
  return number;
}

/** Whether a day is in its month. Of 29 February only that of years that 4 divides and 100 does not is known here. */
function isDay(year: number, month: number, day: number): boolean {
  if (!(year >= 0 && month >= 1 && month <= 12 && day >= 1 && day <= DAYS[month - 1]!)) return false;
  return month !== 2 || day < 29 || (year % 4 === 0 && year % 100 !== 0);
}

/** A UTC time with three decimals that exists: `2026-11-23T02:00:00.123Z`. */
function isTime(value: unknown): boolean {
  if (typeof value !== 'string' || value.length !== 24) return false;
  const separated =
    value[4] === '-' &&
    value[7] === '-' &&
    value[10] === 'T' &&
    value[13] === ':' &&
    value[16] === ':' &&
    value[19] === '.' &&
    value[23] === 'Z';
  return (
    separated &&
    isDay(digits(value, 0, 4), digits(value, 5, 2), digits(value, 8, 2)) &&
    digits(value, 11, 2) <= 23 &&
    digits(value, 14, 2) <= 59 &&
    digits(value, 17, 2) <= 59 &&
    digits(value, 20, 3) <= 999
  );
}

const isName: Check = (value) => typeof value === 'string' && NAME.test(value);
const isText: Check = (value) => typeof value === 'string';
const isNumber: Check = (value) => Number.isFinite(value);

/** One to 512 units, none of them a control character (U+0000 to U+001F, U+007F to U+009F). */
function isItem(value: unknown): boolean {
  if (typeof value !== 'string' || value.length === 0 || value.length > MAX_ITEM) return false;
  for (let i = 0; i < value.length; i++) {
    const unit = value.charCodeAt(i);
    if (unit < 0x20 || (unit >= 0x7f && unit <= 0x9f)) return false;
  }
  return true;
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

/** Whether an object has no other members than these, each of them right. */
function holds(value: unknown, members: ReadonlyMap<string, Check>): value is Record<string, unknown> {
  if (!isPlain(value)) return false;
  for (const key of Object.keys(value)) {
    const check = members.get(key);
    if (check === undefined || !check(value[key])) return false;
  }
  return true;
}

const BY = new Map<string, Check>([
  ['user', isText],
  ['uid', isNumber],
  ['command', isText],
  ['from', isText],
]);

const EVENT = new Map<string, Check>([
  ['time', isTime],
  ['action', isName],
  ['item', isItem],
  ['source', isName],
  ['before', isFields],
  ['after', isFields],
  ['by', (value) => holds(value, BY)],
  ['data', isFields],
]);

/** Whether a value is an event as it stands, with nothing in it that `eventSchema` would leave out. False says only that the schema must be asked. */
export function isEvent(value: unknown): value is BatchEvent {
  return holds(value, EVENT) && Object.hasOwn(value, 'time') && Object.hasOwn(value, 'action');
}
