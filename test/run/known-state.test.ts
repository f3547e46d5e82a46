import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isState } from '../../src/run/known-state.ts';
import { stateSchema } from '../../src/run/shapes.ts';
import { firstState } from '../../src/run/state.ts';

const time = fc.constantFrom('2026-11-24T10:00:00.000Z', '1970-01-01T00:00:00.000Z');
const sha256 = fc.stringMatching(/^[0-9a-f]{64}$/);
const orNull = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | null> => fc.option(arbitrary, { nil: null });

/** States as they are written. */
const state = fc.record({
  version: fc.constant(1),
  root: fc.string(),
  epoch: fc.stringMatching(/^[0-9A-Za-z-]{1,40}$/),
  seq: fc.nat(),
  head: orNull(sha256),
  ran: orNull(time),
  snapshot: orNull(time),
  baseline: orNull(fc.string()),
  baseline_sha256: orNull(sha256),
  known: fc.array(fc.string()),
  cursors: fc.dictionary(
    fc.string().filter((key) => key !== '__proto__'),
    fc.jsonValue().filter((value) => !JSON.stringify(value).includes('__proto__')),
  ),
  pending: fc.array(fc.string()),
  staged_in: orNull(fc.nat()),
  astray: fc.array(fc.string()),
  basis: orNull(
    fc.record(
      {
        by: fc.string(),
        time,
        until: orNull(time),
        stamps: fc.array(fc.record({ paths: fc.array(fc.string()), sha256 })),
        sources: fc.array(
          fc.record(
            {
              name: fc.string(),
              status: fc.constantFrom('ok', 'absent'),
              reason: fc.string(),
              items: fc.nat(),
              events: fc.nat(),
            },
            { requiredKeys: ['name', 'status'] },
          ),
        ),
        items: fc.nat(),
      },
      { requiredKeys: ['by', 'time', 'until', 'stamps', 'sources'] },
    ),
  ),
});

/** Values that do not belong at most places. */
const wrong = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    -1,
    1.5,
    '',
    'x',
    '2026-02-30T10:00:00.000Z',
    '2026-11-24T10:00:00Z',
    [],
    {},
    [null],
    { a: 1 },
    { ['__proto__']: 1 },
  ),
  fc.jsonValue(),
);

/** The value with one member, somewhere in it, replaced, removed or added. */
function spoilt(
  value: unknown,
  path: readonly number[],
  by: unknown,
  how: 'replace' | 'remove' | 'add',
): unknown {
  if (typeof value !== 'object' || value === null || path.length === 0) return by;
  const entries: [string, unknown][] = Object.entries(value);
  const at = entries.length === 0 ? 0 : path[0]! % entries.length;
  const isHere = path.length === 1 || entries.length === 0;
  if (isHere && how === 'add') entries.push(['another', by]);
  else if (isHere && how === 'remove') entries.splice(at, 1);
  else if (entries.length > 0) entries[at]![1] = spoilt(entries[at]![1], path.slice(1), by, how);
  return Array.isArray(value) ? entries.map(([, member]) => member) : Object.fromEntries(entries);
}

test('a state is known at a glance only if its schema takes it, as it is', () => {
  const near = fc
    .tuple(
      state,
      fc.array(fc.nat(), { maxLength: 5 }),
      wrong,
      fc.constantFrom('replace', 'remove', 'add' as const),
    )
    .map((given) => spoilt(given[0], given[1], given[2], given[3] as 'add'));
  let known = 0;
  fc.assert(
    fc.property(fc.oneof(near, wrong), (value) => {
      const read: unknown = JSON.parse(JSON.stringify(value));
      if (!isState(read)) return;
      known++;
      assert.deepEqual(stateSchema.parse(read), read);
    }),
    { numRuns: 2000 },
  );
  assert.ok(known > 20, `only ${known} of 2000 were known: nothing was compared`);
});

test('every state that is written is known at a glance', () => {
  assert.ok(isState(JSON.parse(JSON.stringify(firstState('/', 'e')))));
  fc.assert(
    fc.property(state, (value) => {
      assert.ok(isState(JSON.parse(JSON.stringify(value))));
    }),
  );
});
