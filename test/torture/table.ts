import { isSound, type Tally } from './fault.ts';

const COLUMNS = ['fault', 'times tried', 'batches in', 'lost', 'twice', 'detected', 'survived'] as const;

/** Rows of cells as lines, the first of them underlined; the first `left` columns begin at the left, the others end at the right. */
export function aligned(rows: readonly (readonly string[])[], left = 1): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const lines = rows.map((row) =>
    row
      .map((cell, column) => (column < left ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join('  ')
      .trimEnd(),
  );
  lines.splice(1, 0, widths.map((width) => '-'.repeat(width)).join('  '));
  return lines;
}

/** The tallies as a table for people, with their sums, what went wrong below it, and what was left out. */
export function tableOf(tallies: readonly Tally[], leftOut: readonly string[]): string {
  const cells = (tally: Tally): string[] => [
    tally.fault,
    String(tally.tried),
    String(tally.batches),
    String(tally.lost),
    String(tally.twice),
    tally.detected === null ? '-' : String(tally.detected),
    isSound(tally) ? 'yes' : 'NO',
  ];
  const sum = (of: (tally: Tally) => number): number =>
    tallies.reduce((total, tally) => total + of(tally), 0);
  const total = [
    'all',
    String(sum(({ tried }) => tried)),
    String(sum(({ batches }) => batches)),
    String(sum(({ lost }) => lost)),
    String(sum(({ twice }) => twice)),
    String(sum(({ detected }) => detected ?? 0)),
    tallies.every(isSound) ? 'yes' : 'NO',
  ];
  const lines = aligned([[...COLUMNS], ...tallies.map(cells), total]);
  const problems = tallies.flatMap(({ fault, problems }) =>
    problems.map((problem) => `problem: ${fault}: ${problem}`),
  );
  return `${[...lines, ...problems, ...leftOut].join('\n')}\n`;
}
