/** Lists that are no reports, in the formats of reports. */
import type { Row } from '../../run/report.ts';
import { columns } from './columns.ts';
import type { FormatName } from './formats.ts';

/** What a list is made of: its fields, and how a row looks in the table. */
export interface Listing<R> {
  readonly rows: readonly R[];
  readonly fields: readonly (keyof R & string)[];
  readonly heading: readonly string[];
  cells(row: R): readonly string[];
}

/** A list as text: a table, one JSON array, a JSON object a line, or CSV. */
export async function listText<R extends object>(
  { rows, fields, heading, cells }: Listing<R>,
  format: FormatName,
): Promise<string> {
  if (format === 'table') return columns(heading, rows.map(cells));
  if (format === 'csv') {
    const { csvOf } = await import('./csv.ts');
    async function* each(): AsyncGenerator<Row> {
      for (const row of rows) yield row as Row;
    }
    return (await Array.fromAsync(csvOf(fields, each()))).join('');
  }
  const { safeJson } = await import('./json.ts');
  const lines = rows.map(safeJson);
  if (format === 'ndjson') return lines.map((line) => `${line}\n`).join('');
  return rows.length === 0 ? '[]\n' : `[\n${lines.join(',\n')}\n]\n`;
}
