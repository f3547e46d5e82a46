/**
 * Knows an agent's state of the usual form at a glance: loading its schema takes longer than the rest of a run that has nothing to read. Whatever it does not
 * know is for the schema to judge, which is the reference (shapes.ts); what it knows, the schema accepts as it is.
 */
import { isTime } from '../spool/time-check.ts';
import type { AgentState } from './shapes.ts';

const KEYS = [
  'version',
  'root',
  'epoch',
  'seq',
  'head',
  'ran',
  'snapshot',
  'baseline',
  'baseline_sha256',
  'known',
  'cursors',
  'pending',
  'staged_in',
  'astray',
  'basis',
].join();
const BASIS_KEYS = new Set(['by', 'time', 'until', 'stamps', 'sources', 'items']);
const SOURCE_KEYS = new Set(['name', 'status', 'reason', 'items', 'events']);
const EPOCH = /^[0-9A-Za-z-]{1,40}$/;
const SHA256 = /^[0-9a-f]{64}$/;

type Shape = Readonly<Record<string, unknown>>;

function isShape(value: unknown): value is Shape {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isText(value: unknown): value is string {
  return typeof value === 'string';
}

function isTextOrNull(value: unknown): boolean {
  return value === null || isText(value);
}

function isListOf(value: unknown, isOne: (one: unknown) => boolean): boolean {
  return Array.isArray(value) && value.every(isOne);
}

/** Whether nothing in it is called `__proto__`, which a schema leaves out. */
function isPlain(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return true;
  return !Object.hasOwn(value, '__proto__') && Object.values(value).every(isPlain);
}

/** A count, or none. */
function isCountOrNone(value: unknown): boolean {
  return value === undefined || Number.isSafeInteger(value);
}

function isTimeOrNull(value: unknown): boolean {
  return value === null || isTime(value);
}

function isStamp(value: unknown): boolean {
  return (
    isShape(value) &&
    Object.keys(value).join() === 'paths,sha256' &&
    isListOf(value.paths, isText) &&
    isText(value.sha256) &&
    SHA256.test(value.sha256)
  );
}

function isSource(value: unknown): boolean {
  return (
    isShape(value) &&
    Object.keys(value).every((key) => SOURCE_KEYS.has(key)) &&
    isText(value.name) &&
    (value.status === 'ok' || value.status === 'absent') &&
    (value.reason === undefined || isText(value.reason)) &&
    isCountOrNone(value.items) &&
    isCountOrNone(value.events)
  );
}

function isBasisOrNull(value: unknown): boolean {
  if (value === null) return true;
  return (
    isShape(value) &&
    Object.keys(value).every((key) => BASIS_KEYS.has(key)) &&
    isText(value.by) &&
    isTime(value.time) &&
    isTimeOrNull(value.until) &&
    isListOf(value.stamps, isStamp) &&
    isListOf(value.sources, isSource) &&
    isCountOrNone(value.items)
  );
}

/** Whether a value that was JSON is a state of the usual form, its members in the order in which they are written. */
export function isState(value: unknown): value is AgentState {
  return (
    isShape(value) &&
    Object.keys(value).join() === KEYS &&
    value.version === 1 &&
    isText(value.root) &&
    isText(value.epoch) &&
    EPOCH.test(value.epoch) &&
    Number.isSafeInteger(value.seq) &&
    (value.seq as number) >= 0 &&
    isTextOrNull(value.head) &&
    isTimeOrNull(value.ran) &&
    isTimeOrNull(value.snapshot) &&
    isTextOrNull(value.baseline) &&
    isTextOrNull(value.baseline_sha256) &&
    isListOf(value.known, isText) &&
    isShape(value.cursors) &&
    isPlain(value.cursors) &&
    isListOf(value.pending, isText) &&
    (value.staged_in === null || Number.isSafeInteger(value.staged_in)) &&
    isListOf(value.astray, isText) &&
    isBasisOrNull(value.basis)
  );
}
