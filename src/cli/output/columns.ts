import Table from 'cli-table3';
import { safe } from './safe.ts';

/** A table without lines: two spaces between columns. */
export const NO_LINES = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '  ',
};

/** Text in aligned columns under a heading, without lines; every cell made safe for a terminal. Ends with LF. */
export function columns(heading: readonly string[], rows: readonly (readonly string[])[]): string {
  const table = new Table({
    chars: NO_LINES,
    style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [] },
  });
  table.push(heading.map((title) => title.toUpperCase()));
  for (const row of rows) table.push(row.map((cell) => safe(cell)));
  return `${table.toString().replace(/ +$/gm, '')}\n`;
}

/** A size for people: `812 B`, `4.1 kB`, `12 MB` (decimal). */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let size = bytes;
  let unit = 0;
  while (size >= 1000 && unit < units.length - 1) {
    size /= 1000;
    unit++;
  }
  return `${size < 10 && unit > 0 ? size.toFixed(1) : Math.round(size)} ${units[unit]}`;
}
