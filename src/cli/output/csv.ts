/** Reports as CSV (RFC 4180, UTF-8): a header line, then every field of every row. */
import { stringify } from 'csv-stringify/sync';
import * as z from 'zod';
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

/** Rows as CSV, only the named fields. Cells that a spreadsheet would take for a formula get a leading `'`. */
export async function* csvOf(names: readonly string[], rows: AsyncIterable<Row>): AsyncGenerator<string> {
  const write = (records: (string | number)[][]): string =>
    stringify(records, { escape_formulas: true, record_delimiter: 'windows' });
  yield write([[...names]]);
  let chunk: Row[] = [];
  const flush = (): string => write(chunk.map((row) => names.map((name) => cell(row[name]))));
  for await (const row of rows) {
    chunk.push(row);
    if (chunk.length < CHUNK) continue;
    yield flush();
    chunk = [];
  }
  if (chunk.length > 0) yield flush();
}

/** A report as CSV. */
export function csv(answer: Answer): AsyncGenerator<string> {
  return csvOf(fieldNames(answer), answer.rows);
}
