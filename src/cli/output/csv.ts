/**
 * Reports as CSV (RFC 4180, UTF-8): a header line, then every field of every row. Written here because most of a long report's time and memory went
 * into a library's cells; tests hold it to that library's text.
 */
import * as z from 'zod';
import type { Answer, Row } from '../../run/report.ts';
import { safeJson } from './json.ts';
import { safe } from './safe.ts';

/** Characters that are handed on together, about. */
const CHUNK = 16_384;

/** What a spreadsheet would take for a formula, full-width forms among them: Apple Numbers makes plain ones of those. */
const FORMULA = /^[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]/;
const SPECIAL = /[",\r\n]/;

/** Names of the fields of a report's rows, in order. */
export function fieldNames({ report }: Pick<Answer, 'report'>): string[] {
  return report.row instanceof z.ZodObject
    ? Object.keys(report.row.shape)
    : report.columns.map(({ key }) => key);
}

/** A cell with this text: no formula, and quoted where it must be. */
function textCell(text: string): string {
  const harmless = FORMULA.test(text) ? `'${text}` : text;
  return SPECIAL.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
}

/** Text keeps what could act as visible escapes, line ends too; nothing is an empty cell, and what has parts is JSON. */
function cell(value: unknown): string {
  if (value === null || value === undefined) return '';
  if (typeof value === 'number') return `${value}`;
  return textCell(typeof value === 'object' ? safeJson(value) : safe(String(value)));
}

/** Rows as CSV, only the named fields. Cells that a spreadsheet would take for a formula get a leading `'`. */
export async function* csvOf(names: readonly string[], rows: AsyncIterable<Row>): AsyncGenerator<string> {
  yield `${names.map(textCell).join(',')}\r\n`;
  let chunk = '';
  for await (const row of rows) {
    chunk += `${names.map((name) => cell(row[name])).join(',')}\r\n`;
    if (chunk.length < CHUNK) continue;
    yield chunk;
    chunk = '';
  }
  if (chunk !== '') yield chunk;
}

/** A report as CSV. */
export function csv(answer: Answer): AsyncGenerator<string> {
  return csvOf(fieldNames(answer), answer.rows);
}
