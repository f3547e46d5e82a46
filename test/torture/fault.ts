/**
 * What a torture fault is: something that breaks DSAC's surroundings for real, again and again, and then counts. Each fault is one file in
 * faults/, with one default export. The quick form runs with the tests, the long one under `npm run test:torture`.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** One line of the table. */
export interface Tally {
  /** What was broken, in words. */
  readonly fault: string;
  /** How many times. */
  readonly tried: number;
  /** Batches that agents had committed. */
  readonly batches: number;
  /** Batches or events that must be in the store and are not, and that nobody was told of. */
  readonly lost: number;
  /** Batches or events that are there more than once. */
  readonly twice: number;
  /** Faults that DSAC said something about: null where there is nothing to say, since it recovers by itself. */
  readonly detected: number | null;
  /** What else went wrong, in words: not empty means that the fault was not survived. */
  readonly problems: readonly string[];
}

/** What a fault works with; `defer`red work is done when it ends, last first. */
export interface Scope {
  readonly quick: boolean;
  /** A folder that goes when the fault ends. */
  readonly scratch: string;
  /** For what is chosen at random: printed, and given again to repeat a run. */
  readonly seed: number;
  /** Tells how far it is, for a person who waits. */
  log(text: string): void;
  defer(work: () => unknown): void;
}

export interface Fault {
  /** File name without `.ts`. */
  readonly name: string;
  /** Which of the promises P1 … P9 it tries, `P2 P3`. */
  readonly promises: string;
  readonly summary: string;
  /** Why it cannot be tried on this machine, or undefined. */
  leftOut?(): string | undefined;
  run(scope: Scope): Promise<Tally[]>;
}

/** Whether a fault was survived. */
export function isSound({ lost, twice, problems }: Tally): boolean {
  return lost === 0 && twice === 0 && problems.length === 0;
}

/** Does work in a scope of its own, which is gone when it ends. `name` is what its folder begins with. */
export async function inScope<T>(
  name: string,
  { quick, seed, log }: Pick<Scope, 'quick' | 'seed' | 'log'>,
  work: (scope: Scope) => Promise<T>,
): Promise<T> {
  const scratch = mkdtempSync(join(tmpdir(), `${name}-`));
  const deferred: (() => unknown)[] = [];
  try {
    return await work({ quick, seed, scratch, log, defer: (later) => deferred.push(later) });
  } finally {
    for (const later of deferred.reverse()) await later();
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Runs a fault in a scope of its own. */
export async function tryFault(fault: Fault, scope: Pick<Scope, 'quick' | 'seed' | 'log'>): Promise<Tally[]> {
  return inScope(`dsac-torture-${fault.name}`, scope, (own) => fault.run(own));
}

/** Numbers in [0, 1) that follow from the seed alone (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
