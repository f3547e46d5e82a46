/** Knows a time at a glance: the schema (`timeSchema`) is the reference, and takes several times as long. */

const DAYS = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
const ZERO = 0x30;

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

/** Whether a value is a UTC time with three decimals that exists: `2026-11-23T02:00:00.123Z`. False for some rare ones too, which the schema takes. */
export function isTime(value: unknown): boolean {
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
