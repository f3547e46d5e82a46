/** Reports as CSV (RFC 4180, UTF-8): a header line, then every field of every row. */
import { stringify } from 'csv-stringify/sync';
import { z } from 'zod';
import type { Answer, Row } from '../../run/report.ts';
import { safeJson } from './json.ts';
import { safe } from './safe.ts';

const CHUNK = 500;

/** Names of the fields of a report's rows, in order. */
export function fieldNames({ report }: Pick<Answer, 'report'>): string[] {
  return report.row instanceof z.ZodObject
    ? Object.keys(report.row.shape)
    : report.columns.map(({ key }) => key);
}

/** Text keeps what could act as visible escapes, line ends too; nothing is an empty cell, and what has parts is JSON. */
function cell(value: unknown): string | number {
  if (value === null || value === undefined) return '';
  if (typeof value === 'number') return value;
  return typeof value === 'object' ? safeJson(value) : safe(String(value));
}

/** Cells that a spreadsheet would take for a formula get a leading `'`. */
export async function* csv(answer: Answer): AsyncGenerator<string> {
  const names = fieldNames(answer);
  const write = (records: (string | number)[][]): string =>
    stringify(records, { escape_formulas: true, record_delimiter: 'windows' });
  yield write([names]);
  let rows: Row[] = [];
  const flush = (): string => write(rows.map((row) => names.map((name) => cell(row[name]))));
  for await (const row of answer.rows) {
    rows.push(row);
    if (rows.length < CHUNK) continue;
    yield flush();
    rows = [];
  }
  if (rows.length > 0) yield flush();
}
