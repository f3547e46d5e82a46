/** What every report must do; each report's test calls it with batches that its agents would write. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import test from 'node:test';
import * as z from 'zod';
import { formatNamed } from '../../src/cli/output/formats.ts';
import { parseDuration } from '../../src/config/time.ts';
import { hasPlugin } from '../../src/plugin/registry.ts';
import type { AnyReport, Scope } from '../../src/plugin/report.ts';
import { runReport } from '../../src/run/report.ts';
import type { Batch } from '../../src/spool/batch.ts';
import { openStore, type Store } from '../../src/store/store.ts';

const SCOPE: Scope = {
  since: new Date('2026-11-23T00:00:00Z'),
  until: new Date('2026-11-24T00:00:00Z'),
  nodes: undefined,
  now: new Date('2026-11-24T00:00:00Z'),
};
/** What could act on a terminal. */
const ACTING = /[\p{Cc}\p{Cf}\u2028\u2029]/u;

/** A report's text in one format. */
export async function reportText(
  store: Store,
  report: AnyReport,
  format: 'table' | 'json' | 'ndjson' | 'csv',
  scope: Partial<Scope> = {},
  width?: number,
): Promise<string> {
  let text = '';
  await runReport(store, report, { ...SCOPE, ...scope }, await formatNamed(format, width), (piece) => {
    text += piece;
  });
  return text;
}

/** A store in memory that holds these batches. */
export async function storeWith(batches: readonly Batch[]): Promise<Store> {
  const store = await openStore('sqlite::memory:', { home: '/' });
  await store.load(batches);
  return store;
}

/** The rows that a report gives for these batches on 23 November 2026. */
export async function reportRows(
  report: AnyReport,
  batches: readonly Batch[],
  scope: Partial<Scope> = {},
): Promise<Record<string, unknown>[]> {
  const store = await storeWith(batches);
  const answer = JSON.parse(await reportText(store, report, 'json', scope));
  await store.close();
  return answer.rows;
}

function checkShape(report: AnyReport): void {
  assert.ok(report.row instanceof z.ZodObject, 'row must be an object schema');
  for (const [name, field] of Object.entries(report.row.shape)) {
    assert.ok((field as z.ZodType).description, `field ${name} must be described`);
  }
  for (const name of ['time', 'node', 'host', 'action'])
    assert.ok(name in report.row.shape, `rows must carry ${name}`);
  for (const { key } of report.columns) assert.ok(key in report.row.shape, `column ${key} is no field`);
  assert.ok(parseDuration(report.since), `since: '${report.since}' is no duration`);
  assert.match(report.summary, /^\P{Lu}.*[^.]$/u, 'summary: lower case, no full stop');
}

/**
 * Tests a report. `batches`: made on 23 November 2026, giving at least two rows, with hostile text (control characters, a formula, an
 * override) in what a node can name. `ordered: false` where rows are not a sequence in time.
 */
export function reportConformance(
  report: AnyReport,
  batches: () => readonly Batch[],
  { ordered = true } = {},
): void {
  const name = `report ${report.name}`;

  test(`${name}: is found by its name, its fields are described and its columns exist`, () => {
    assert.ok(hasPlugin('reports', report.name) || report.name.startsWith('_'));
    checkShape(report);
  });

  test(`${name}: rows are what its schema says, within the window, in order of time`, async () => {
    const rows = await reportRows(report, batches());
    assert.ok(rows.length >= 2, 'the batches must give two rows');
    for (const row of rows) report.row.parse(row, { reportInput: true });
    if (!ordered) return;
    const times = rows.map(({ time }) => String(time));
    assert.deepEqual(times, times.toSorted());
    assert.ok(times.every((time) => time >= '2026-11-23T00:00:00.000Z' && time < '2026-11-24T00:00:00.000Z'));
  });

  if (ordered) {
    test(`${name}: the window takes its beginning in and leaves its end out`, async () => {
      const rows = await reportRows(report, batches());
      const last = String(rows.at(-1)?.time);
      const atLast = rows.filter(({ time }) => time === last).length;
      const upTo = await reportRows(report, batches(), { until: new Date(last) });
      const from = await reportRows(report, batches(), { since: new Date(last) });
      assert.equal(upTo.length, rows.length - atLast);
      assert.equal(from.length, atLast);
    });
  }

  test(`${name}: only the nodes asked for, however many`, async () => {
    assert.deepEqual(
      await reportRows(report, batches(), { nodes: ['00000000-0000-4000-8000-00000000dead'] }),
      [],
    );
    const { node } = batches()[0]!.header;
    const rows = await reportRows(report, batches(), { nodes: [node] });
    assert.ok(rows.length > 0 && rows.every((row) => row.node === node));
    const fleet = Array.from({ length: 40_000 }, () => randomUUID());
    assert.deepEqual(await reportRows(report, batches(), { nodes: fleet }), []);
    assert.deepEqual(await reportRows(report, batches(), { nodes: [...fleet, node] }), rows);
  });

  test(`${name}: nothing from a node acts, in any format, and JSON, lines and CSV carry the same rows`, async () => {
    const store = await storeWith(batches());
    const { rows } = JSON.parse(await reportText(store, report, 'json'));
    const lines = (await reportText(store, report, 'ndjson')).trimEnd().split('\n');
    assert.deepEqual(
      lines.map((line) => JSON.parse(line)),
      rows,
    );
    const csv = await reportText(store, report, 'csv');
    assert.equal(csv.trimEnd().split('\r\n').length, rows.length + 1);
    assert.doesNotMatch(csv, /(?:^|,|\r\n)"?[=+@-](?!\d)/);
    for (const format of ['table', 'json', 'ndjson', 'csv'] as const) {
      const text = await reportText(store, report, format);
      for (const line of text.split(/\r?\n/))
        assert.doesNotMatch(line, ACTING, `${format}: ${JSON.stringify(line)}`);
    }
    await store.close();
  });

  test(`${name}: no rows is said in words, with what to try next`, async () => {
    const store = await openStore('sqlite::memory:', { home: '/' });
    assert.match(
      await reportText(store, report, 'table'),
      /^incomplete: no node has reported yet\n\nnothing .*run dsac agent/,
    );
    assert.deepEqual(JSON.parse(await reportText(store, report, 'json')).rows, []);
    await store.close();
  });
}
