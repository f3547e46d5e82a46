/**
 * What a bench is: it measures DSAC beside something that does the same work, both in the same run, by turns. What it finds are ratios, since a
 * machine's times say nothing of another's. Each bench is one file in benches/, with one default export.
 */
import type { Scope } from '../test/torture/fault.ts';

export type { Scope } from '../test/torture/fault.ts';

/** One line of the table, as text. */
export interface Line {
  readonly name: string;
  readonly ours: string;
  readonly theirs: string;
  readonly ratio: string;
  readonly target: string;
  /** `-` where there is no target; `left out` where there was nothing to measure with; what was missing is in `name`. */
  readonly verdict: 'pass' | 'short' | '-' | 'left out';
}

export interface Bench {
  /** File name without `.ts`. */
  readonly name: string;
  readonly summary: string;
  /** Whether it needs a RabbitMQ and a MariaDB. */
  readonly services?: true;
  run(scope: Scope): Promise<Line[]>;
}

/** What a figure must be. */
export type Target = { readonly atMost: number } | { readonly atLeast: number };

/** Two figures of the same run, the one right after the other. */
export interface Pair {
  readonly ours: number;
  readonly theirs: number;
}

type Measure = () => number | Promise<number>;

/** How many pairs a figure is the median of. */
export function pairsOf({ quick }: Pick<Scope, 'quick'>, full = 5): number {
  return quick ? 3 : full;
}

/** Measures both by turns; each goes first every other time, so that neither profits from what the other has warmed up. */
export async function alternate(count: number, ours: Measure, theirs: Measure): Promise<Pair[]> {
  const pairs: Pair[] = [];
  for (let n = 0; n < count; n++) {
    if (n % 2 === 0) pairs.push({ ours: await ours(), theirs: await theirs() });
    else {
      const second = await theirs();
      pairs.push({ ours: await ours(), theirs: second });
    }
  }
  return pairs;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** A number with three digits that count: `0.0123`, `1.25`, `98.7`, `245,000`. */
function shown(value: number): string {
  if (value === 0) return '0';
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toLocaleString('en', {
    maximumFractionDigits: digits,
    minimumFractionDigits: Math.min(digits, 2),
  });
}

function verdictOf(value: number, target: Target): 'pass' | 'short' {
  return ('atMost' in target ? value <= target.atMost : value >= target.atLeast) ? 'pass' : 'short';
}

function targetText(target: Target): string {
  return 'atMost' in target ? `<= ${target.atMost}` : `>= ${target.atLeast.toLocaleString('en')}`;
}

/** The line of a comparison: the ratio is the median of the pairs' ratios. `unit` is that of both figures; without a target it is only told. */
export function compared(name: string, unit: string, pairs: readonly Pair[], target?: Target): Line {
  const ratio = median(pairs.map(({ ours, theirs }) => ours / theirs));
  return {
    name,
    ours: `${shown(median(pairs.map(({ ours }) => ours)))} ${unit}`,
    theirs: `${shown(median(pairs.map(({ theirs }) => theirs)))} ${unit}`,
    ratio: shown(ratio),
    target: target ? targetText(target) : '-',
    verdict: target ? verdictOf(ratio, target) : '-',
  };
}

/** The line of a figure that has a target of its own, whatever machine this is. */
export function absolute(name: string, unit: string, values: readonly number[], target: Target): Line {
  const value = median(values);
  return {
    name,
    ours: `${shown(value)} ${unit}`,
    theirs: '-',
    ratio: '-',
    target: `${targetText(target)} ${unit}`,
    verdict: verdictOf(value, target),
  };
}

/** Why other programs are left out where only ours are tried. */
export const NOT_QUICK = 'not in the quick form';

/** The line of what could not be measured here. */
export function leftOut(name: string, why: string): Line {
  return { name: `${name}: ${why}`, ours: '-', theirs: '-', ratio: '-', target: '-', verdict: 'left out' };
}
