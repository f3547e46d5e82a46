/** Reports as a table for people. */
import Table from 'cli-table3';
import type { Column } from '../../plugin/report.ts';
import type { Answer, Row } from '../../run/report.ts';
import { headLine } from '../../store/completeness-words.ts';
import { NO_LINES } from './columns.ts';
import { safe } from './safe.ts';

/** Rows laid out together; more begin a new page below, so that memory does not grow with the report. */
const PAGE = 1000;
/** Columns are not made narrower than this. */
const NARROWEST = 8;
const GUTTER = 2;
const DAY = 86_400_000;

const TIME = /^(\d{4}-\d{2}-\d{2})T(\d{2}:\d{2}:\d{2})\.\d{3}Z$/;

/** A value as a cell: times to the second, lists joined, nothing as nothing. */
function plain(value: unknown): string {
  if (value === null || value === undefined) return '';
  if (Array.isArray(value)) return value.map(plain).join(', ');
  if (typeof value === 'object') return JSON.stringify(value);
  return String(value).replace(TIME, '$1 $2');
}

function cellOf(column: Column<Row>, row: Row): string {
  return safe(column.text ? column.text(row) : plain(row[column.key]));
}

function titleOf(column: Column<Row>): string {
  return (column.title ?? column.key).replaceAll('_', ' ').toUpperCase();
}

/** Widths that fit `room`: the widest column gives first. Undefined when nothing must give. */
export function fitted(natural: readonly number[], room: number): number[] | undefined {
  const widths = [...natural];
  const spare = room - GUTTER * (widths.length - 1);
  let total = widths.reduce((a, b) => a + b, 0);
  if (total <= spare) return undefined;
  while (total > spare) {
    const widest = widths.indexOf(Math.max(...widths));
    if (widths[widest]! <= NARROWEST) break;
    widths[widest]!--;
    total--;
  }
  return widths;
}

/** Of lines of narrow text. */
function widthsOf(lines: readonly (readonly string[])[]): number[] {
  const widths = lines[0]!.map(() => 0);
  for (const line of lines)
    for (const [at, cell] of line.entries()) widths[at] = Math.max(widths[at]!, cell.length);
  return widths;
}

/** Text of which every character is known to be one column wide. */
const NARROW = /^[\x20-\x7e–…→]*$/;

function cut(cell: string, width: number): string {
  return cell.length > width ? `${cell.slice(0, width - 1)}…` : cell;
}

/** Lays out lines of narrow text, as cli-table3 would in many times the time. */
function aligned(lines: readonly (readonly string[])[], widths: readonly number[]): string {
  const gutter = ' '.repeat(GUTTER);
  const texts = lines.map((line) =>
    line
      .map((cell, at) => cut(cell, widths[at]!).padEnd(widths[at]!))
      .join(gutter)
      .trimEnd(),
  );
  return `${texts.join('\n')}\n`;
}

/** Lays out lines with cli-table3, which knows how wide a character is; answers how wide it made the columns, too. */
function wide(
  lines: readonly (readonly string[])[],
  colWidths?: number[],
): { text: string; widths: number[] } {
  const table = new Table({
    chars: NO_LINES,
    style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [] },
    ...(colWidths && { colWidths }),
  });
  for (const line of lines) table.push([...line]);
  const text = `${table.toString().replace(/ +$/gm, '')}\n`;
  return { text, widths: table.options.colWidths.map((width) => width ?? 0) };
}

function layOut(lines: readonly (readonly string[])[], room = Number.POSITIVE_INFINITY): string {
  if (lines.every((line) => line.every((cell) => NARROW.test(cell)))) {
    const natural = widthsOf(lines);
    return aligned(lines, fitted(natural, room) ?? natural);
  }
  const whole = wide(lines);
  const widths = fitted(whole.widths, room);
  return widths === undefined ? whole.text : wide(lines, widths).text;
}

function day(date: Date): string {
  return date.toISOString().replace(TIME, '$1 $2');
}

/** What to say where there are no rows: why that may be, and what to try. */
async function nothing({ report, scope, completeness }: Answer): Promise<string> {
  if ((await completeness()).counts.nodes === 0 && scope.nodes === undefined) {
    return 'nothing has been loaded into the store yet: run dsac agent, dsac dispatch and dsac process, then ask again\n';
  }
  const days = Math.ceil((4 * (scope.now.getTime() - scope.since.getTime())) / DAY);
  const asked = scope.nodes === undefined ? '' : ', or without --node';
  return `no rows in ${report.name} from ${day(scope.since)} to ${day(scope.until)} UTC; try an earlier --since, such as --since ${days}d${asked}\n`;
}

/**
 * A table that begins with how complete it is. `width`: columns of the terminal, which the table is made to fit by cutting cells; undefined
 * where it goes elsewhere, uncut.
 */
export function table(width: number | undefined) {
  return async function* (answer: Answer): AsyncGenerator<string> {
    const columns: readonly Column<Row>[] = answer.report.columns;
    yield `${safe(headLine(await answer.completeness()))}\n\n`;
    let lines = [columns.map(titleOf)];
    let count = 0;
    for await (const row of answer.rows) {
      count++;
      lines.push(columns.map((column) => cellOf(column, row)));
      if (lines.length <= PAGE) continue;
      yield layOut(lines, width);
      lines = [columns.map(titleOf)];
    }
    if (count === 0) yield await nothing(answer);
    else if (lines.length > 1) yield layOut(lines, width);
  };
}
