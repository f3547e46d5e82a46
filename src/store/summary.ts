/** Events in a few words, for people. Pure. */
import type { By, Fields } from '../spool/batch.ts';
import { canonical } from '../spool/canonical.ts';

/** Characters of a summary. */
const MAX = 300;
/** What a value is cut to where all of them are too long together: a long comment must not push a user id out of sight. */
const VALUES = [Number.POSITIVE_INFINITY, 60, 30, 15];

function cut(text: string, most = MAX): string {
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
}

/** The parts of a summary, each with its values whole if there is room for all, else cut alike. */
function summed(parts: readonly ((most: number) => string)[]): string {
  let text = '';
  for (const most of VALUES) {
    text = parts.map((part) => part(most)).join(', ');
    if (text.length <= MAX) break;
  }
  return cut(text);
}

/** A value for people: text as it is, anything else as JSON. */
function valueText(value: unknown): string {
  if (value === undefined || value === null) return '–';
  return typeof value === 'string' ? value : canonical(value);
}

function isList(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((one) => typeof one === 'string');
}

/** What came into a list and what left it, `+["docker"] -["audio"]`: both whole would hide it. Undefined where neither says it. */
function listChange(before: unknown, after: unknown): string | undefined {
  if (!isList(before) || !isList(after)) return undefined;
  const came = after.filter((one) => !before.includes(one));
  const left = before.filter((one) => !after.includes(one));
  const parts = [came.length > 0 && `+${canonical(came)}`, left.length > 0 && `-${canonical(left)}`];
  return parts.filter(Boolean).join(' ') || undefined;
}

/** A field that is there itself: every object has a `constructor` and a `__proto__` of its prototype. */
function own(fields: Fields, name: string): Fields[string] | undefined {
  return Object.hasOwn(fields, name) ? fields[name] : undefined;
}

/** Names of the fields that differ, sorted. */
export function changedFields(before: Fields, after: Fields): string[] {
  const names = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...names]
    .filter((name) => canonical(own(before, name) ?? null) !== canonical(own(after, name) ?? null))
    .sort();
}

/** `groups: +["docker"], shell: /bin/sh → /bin/bash, uid: 0 → 1000`; of something new or gone the fields it has. */
export function differenceText(before: Fields | undefined, after: Fields | undefined): string {
  if (!before || !after) return fieldsText(before ?? after ?? {});
  return summed(
    changedFields(before, after).map((name) => {
      const [was, is] = [own(before, name), own(after, name)];
      const list = listChange(was, is);
      return (most) =>
        `${name}: ${list === undefined ? `${cut(valueText(was), most)} → ${cut(valueText(is), most)}` : cut(list, 2 * most)}`;
    }),
  );
}

/** `user alice, tty pts/0`; what is empty is left out. */
export function fieldsText(fields: Fields): string {
  const there = Object.entries(fields).filter(
    ([, value]) => value !== null && value !== '' && !(Array.isArray(value) && value.length === 0),
  );
  return summed(
    there.map(
      ([name, value]) =>
        (most) =>
          `${name} ${cut(valueText(value), most)}`,
    ),
  );
}

/** Who and how: `alice: apt install openssl`. Empty when nobody knows. */
export function byText(by: By | null | undefined): string {
  if (!by) return '';
  const who = by.user ?? (by.uid === undefined ? undefined : `uid ${by.uid}`);
  return [who, by.command].filter((part) => part !== undefined).join(': ');
}
