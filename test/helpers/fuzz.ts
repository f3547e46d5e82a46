/** Runs properties over random input: how much, from which seed, and how much it was in all. */
import type { TestContext } from 'node:test';
import fc from 'fast-check';

/** `DSAC_TORTURE=1` tries this many times as much. */
const TORTURE = 50;
const factor = process.env.DSAC_TORTURE === '1' ? TORTURE : 1;
/** `DSAC_SEED` repeats a run; fast-check prints the seed of one that fails. */
const seed = process.env.DSAC_SEED === undefined ? {} : { seed: Number(process.env.DSAC_SEED) };

let total = 0;

/** Holds `holds` against `runs` inputs (times 50 under torture) and says how many. */
export async function fuzz<T>(
  t: TestContext,
  runs: number,
  input: fc.Arbitrary<T>,
  holds: (input: T) => void | Promise<void>,
): Promise<void> {
  const numRuns = runs * factor;
  const property = fc.asyncProperty(input, async (value) => {
    await holds(value);
  });
  await fc.assert(property, { ...seed, numRuns, endOnFailure: factor > 1 });
  total += numRuns;
  t.diagnostic(`${numRuns} inputs, ${total} in this file so far`);
}

/** What may happen to bytes on a disk or on the way. */
export type Mutation =
  | { readonly kind: 'flip'; readonly at: number; readonly bit: number }
  | { readonly kind: 'insert'; readonly at: number; readonly bytes: Uint8Array }
  | { readonly kind: 'delete' | 'repeat' | 'zero'; readonly at: number; readonly length: number }
  | { readonly kind: 'move'; readonly at: number; readonly length: number; readonly to: number };

const at = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const length = fc.integer({ min: 1, max: 300 });

/** A few mutations; places are parts of the whole, so that they fit bytes of any length. */
export const mutations: fc.Arbitrary<Mutation[]> = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant('flip' as const), at, bit: fc.integer({ min: 0, max: 7 }) }),
    fc.record({
      kind: fc.constant('insert' as const),
      at,
      bytes: fc.uint8Array({ minLength: 1, maxLength: 60 }),
    }),
    fc.record({ kind: fc.constantFrom('delete' as const, 'repeat' as const, 'zero' as const), at, length }),
    fc.record({ kind: fc.constant('move' as const), at, length, to: at }),
  ),
  { minLength: 1, maxLength: 4 },
);

function mutate(bytes: Buffer, mutation: Mutation): Buffer {
  const from = Math.floor(mutation.at * bytes.length);
  if (mutation.kind === 'flip') {
    const flipped = Buffer.from(bytes);
    if (flipped.length > 0) flipped[from]! ^= 1 << mutation.bit;
    return flipped;
  }
  if (mutation.kind === 'insert')
    return Buffer.concat([bytes.subarray(0, from), mutation.bytes, bytes.subarray(from)]);
  const end = Math.min(bytes.length, from + mutation.length);
  const [before, part, behind] = [bytes.subarray(0, from), bytes.subarray(from, end), bytes.subarray(end)];
  const rest = Buffer.concat([before, behind]);
  if (mutation.kind === 'move') {
    const to = Math.floor(mutation.to * rest.length);
    return Buffer.concat([rest.subarray(0, to), part, rest.subarray(to)]);
  }
  if (mutation.kind === 'delete') return rest;
  return Buffer.concat([
    before,
    ...(mutation.kind === 'zero' ? [Buffer.alloc(part.length)] : [part, part]),
    behind,
  ]);
}

/** The bytes after all that. */
export function mutated(bytes: Buffer, all: readonly Mutation[]): Buffer {
  return all.reduce(mutate, bytes);
}
