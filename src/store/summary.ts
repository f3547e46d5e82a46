/** Events in a few words, for people. Pure. */
import type { By, Fields } from '../spool/batch.ts';
import { canonical } from '../spool/canonical.ts';

const MAX = 200;

/** A value for people: text as it is, anything else as JSON. */
function valueText(value: unknown): string {
  if (value === undefined || value === null) return '–';
  return typeof value === 'string' ? value : canonical(value);
}

function cut(text: string): string {
  return text.length <= MAX ? text : `${text.slice(0, MAX - 1)}…`;
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

/** `shell: /bin/sh → /bin/bash, uid: 0 → 1000`; of something new or gone the fields it has. */
export function differenceText(before: Fields | undefined, after: Fields | undefined): string {
  if (before && after) {
    const parts = changedFields(before, after).map(
      (name) => `${name}: ${valueText(own(before, name))} → ${valueText(own(after, name))}`,
    );
    return cut(parts.join(', '));
  }
  return fieldsText(before ?? after ?? {});
}

/** `user alice, tty pts/0`; what is empty is left out. */
export function fieldsText(fields: Fields): string {
  const parts = Object.entries(fields).filter(
    ([, value]) => value !== null && value !== '' && !(Array.isArray(value) && value.length === 0),
  );
  return cut(parts.map(([name, value]) => `${name} ${valueText(value)}`).join(', '));
}

/** Who and how: `alice: apt install openssl`. Empty when nobody knows. */
export function byText(by: By | null | undefined): string {
  if (!by) return '';
  const who = by.user ?? (by.uid === undefined ? undefined : `uid ${by.uid}`);
  return [who, by.command].filter((part) => part !== undefined).join(': ');
}
