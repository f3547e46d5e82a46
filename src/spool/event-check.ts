/**
 * Says of most valid events at once that they are valid. `eventSchema` is the reference, for what an event is and for what is wrong with one: whatever is
 * not known here to be right is left to it. Checking by it costs several times what parsing the line does.
 */
import { type BatchEvent, isFields } from './batch.ts';
import { isTime } from './time-check.ts';

const NAME = /^[a-z][a-z0-9-]{0,63}$/;
/** Longest item, in UTF-16 units, as zod counts. */
const MAX_ITEM = 512;

type Check = (value: unknown) => boolean;

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
