import assert from 'node:assert/strict';
import test from 'node:test';
import Table from 'cli-table3';
import { stringify } from 'csv-stringify/sync';
import fc from 'fast-check';
import * as z from 'zod';
import { NO_LINES } from '../../src/cli/output/columns.ts';
import { csvOf } from '../../src/cli/output/csv.ts';
import { formatNamed } from '../../src/cli/output/formats.ts';
import { safeJson } from '../../src/cli/output/json.ts';
import { safe } from '../../src/cli/output/safe.ts';
import { fitted } from '../../src/cli/output/table.ts';
import { defineReport } from '../../src/plugin/report.ts';
import type { Answer, Row } from '../../src/run/report.ts';
import { noCounts } from '../../src/store/completeness-words.ts';

const report = defineReport({
  name: 'sample',
  summary: 'a sample',
  since: '7d',
  row: z.object({
    time: z.string(),
    name: z.string().nullable(),
    size: z.number(),
    parts: z.array(z.string()),
  }),
  columns: [{ key: 'time' }, { key: 'name', title: 'given_name' }, { key: 'parts' }],
  async *rows() {},
});

const moment = new Date('2026-11-23T00:00:00Z');

/** An answer of complete nodes with these rows. */
function answer(rows: readonly Row[], nodes = 1): Answer {
  async function* stream(): AsyncGenerator<Row> {
    yield* rows;
  }
  return {
    report,
    scope: {
      since: moment,
      until: new Date('2026-11-24T00:00:00Z'),
      nodes: undefined,
      now: new Date('2026-11-24T00:00:00Z'),
    },
    generated: moment,
    completeness: async () => ({
      counts: { ...noCounts(), nodes, complete: nodes },
      named: {},
    }),
    rows: stream(),
  };
}

async function written(
  format: 'table' | 'csv' | 'json' | 'ndjson',
  rows: readonly Row[],
  width?: number,
): Promise<string> {
  return (await Array.fromAsync((await formatNamed(format, width))(answer(rows)))).join('');
}

const row = (name: string | null, parts: string[] = []): Row => ({
  time: '2026-11-23T02:00:00.123Z',
  name,
  size: -1,
  parts,
});

test('a table begins with the head line, cuts times to the second and leaves nothing empty', async () => {
  const text = await written('table', [row('openssl', ['a', 'b']), row(null)]);
  assert.equal(
    text,
    [
      'complete: 1 of 1 nodes',
      '',
      'TIME                 GIVEN NAME  PARTS',
      '2026-11-23 02:00:00  openssl     a, b',
      '2026-11-23 02:00:00',
      '',
    ].join('\n'),
  );
});

test('a table fits the terminal by cutting its widest cells, and is whole where it goes elsewhere', async () => {
  const long = 'x'.repeat(300);
  const narrow = await written('table', [row(long, ['short'])], 60);
  assert.ok(narrow.split('\n').every((line) => line.length <= 60));
  assert.match(narrow, /x… {2}short$/m);
  assert.match(await written('table', [row(long)]), new RegExp(`${long}$`, 'm'));
});

test('a table counts the columns of wide characters: it fits the terminal, and cuts none where there is room', async () => {
  const han = '漢'.repeat(15);
  const columns = (line: string): number => line.length + (line.match(/漢/g)?.length ?? 0);
  const narrow = await written('table', [row(han, ['short'])], 50);
  assert.ok(
    narrow.split('\n').every((line) => columns(line) <= 50),
    narrow,
  );
  const roomy = await written('table', [row(han, ['x'.repeat(60)])], 90);
  assert.match(roomy, new RegExp(` ${han}  x+…$`, 'm'));
});

test('a table is laid out as cli-table3 does, whatever is in it and however wide it may be', async () => {
  const narrow = fc.string({ unit: fc.constantFrom(...'ab 1"–…→'), maxLength: 30 });
  const text = fc.oneof({ weight: 9, arbitrary: narrow }, fc.string({ unit: 'grapheme', maxLength: 30 }));
  const some = fc.array(fc.tuple(text, text), { minLength: 1, maxLength: 4 });
  const room = fc.option(fc.integer({ min: 30, max: 90 }), { nil: undefined });
  await fc.assert(
    fc.asyncProperty(some, room, async (cells, width) => {
      const heading = ['TIME', 'GIVEN NAME', 'PARTS'];
      const lines = [heading, ...cells.map(([a, b]) => ['2026-11-23 02:00:00', safe(a), safe(b)])];
      const style = { 'padding-left': 0, 'padding-right': 0, head: [], border: [] };
      const whole = new Table({ chars: NO_LINES, style });
      whole.push(...lines);
      whole.toString();
      const natural = whole.options.colWidths.map((one) => one ?? 0);
      const colWidths = width === undefined ? undefined : fitted(natural, width);
      const table = new Table({ chars: NO_LINES, style, ...(colWidths && { colWidths }) });
      table.push(...lines);
      const rows = cells.map(([a, b]) => row(a, [b]));
      const shown = (await written('table', rows, width)).split('\n').slice(2).join('\n');
      assert.equal(shown, `${table.toString().replace(/ +$/gm, '')}\n`);
    }),
  );
});

test('widths give from the widest, and not below what can be read', () => {
  assert.equal(fitted([10, 20], 40), undefined);
  assert.deepEqual(fitted([10, 40, 30], 64), [10, 25, 25]);
  assert.deepEqual(fitted([10, 40], 5), [8, 8]);
});

test('a table of many rows is laid out page by page', async () => {
  const pieces = await Array.fromAsync(
    (await formatNamed('table', undefined))(answer(Array.from({ length: 2500 }, (_, n) => row(`n${n}`)))),
  );
  assert.equal(pieces.length, 4);
  assert.equal(pieces.join('').match(/^2026/gm)?.length, 2500);
});

test('no rows is said in words', async () => {
  assert.equal(
    await written('table', []),
    'complete: 1 of 1 nodes\n\nno rows in sample from 2026-11-23 00:00:00 to 2026-11-24 00:00:00 UTC; try an earlier --since, such as --since 4d\n',
  );
  assert.equal(await written('csv', []), 'time,name,size,parts\r\n');
  assert.equal(await written('ndjson', []), '');
  assert.deepEqual(JSON.parse(await written('json', [])).rows, []);
});

test('CSV keeps formulas from being run, control characters from acting, and numbers numbers', async () => {
  const names = ['=1+1', '+1', '-1', '@x', '\tx', '\r=x', 'a "b", c\nd', '\u001b[31m', '\u202e'];
  const lines = (
    await written(
      'csv',
      names.map((name) => row(name)),
    )
  )
    .trimEnd()
    .split('\r\n');
  const time = '2026-11-23T02:00:00.123Z';
  assert.deepEqual(lines.slice(1), [
    `${time},'=1+1,-1,[]`,
    `${time},'+1,-1,[]`,
    `${time},'-1,-1,[]`,
    `${time},'@x,-1,[]`,
    `${time},\\x09x,-1,[]`,
    `${time},\\x0d=x,-1,[]`,
    `${time},"a ""b"", c\\x0ad",-1,[]`,
    `${time},\\x1b[31m,-1,[]`,
    `${time},\\u202e,-1,[]`,
  ]);
});

test('CSV is what csv-stringify writes of the same cells, whatever they are', async () => {
  const character = fc.constantFrom(...'"\',=+-@ \t\r\n;a\uff1d\uff0b\uff0d\uff20\u2028é');
  const text = fc.oneof(fc.string({ unit: character, maxLength: 3 }), fc.string({ unit: 'binary' }));
  const value = fc.oneof(
    { weight: 9, arbitrary: text },
    fc.double(),
    fc.integer(),
    fc.boolean(),
    fc.constantFrom(null, undefined),
    fc.array(text),
  );
  const cell = (one: unknown): string | number => {
    if (one === null || one === undefined) return '';
    if (typeof one === 'number') return one;
    return typeof one === 'object' ? safeJson(one) : safe(String(one));
  };
  const rows = fc.array(fc.tuple(value, value), { maxLength: 10, size: 'max' });
  await fc.assert(
    fc.asyncProperty(rows, async (all) => {
      async function* each(): AsyncGenerator<Row> {
        for (const [a, b] of all) yield { a, b };
      }
      const written = (await Array.fromAsync(csvOf(['a', 'b'], each()))).join('');
      const records = [['a', 'b'], ...all.map((cells) => cells.map(cell))];
      assert.equal(written, stringify(records, { escape_formulas: true, record_delimiter: 'windows' }));
    }),
  );
});

test('CSV carries what has parts as JSON', async () => {
  assert.match(await written('csv', [row('x', ['a', '=b'])]), /,x,-1,"\[""a"",""=b""\]"\r\n$/);
});

test('JSON that is safe to print is the same value', () => {
  const value = { 'k\u202e': '\u0000\u001b\u007f\u009b\u2028\u2066\ud800\u200b\u{e0001}🦀é' };
  assert.deepEqual(JSON.parse(safeJson(value)), value);
  assert.match(safeJson(value), /^[\x20-\x7e🦀é]+$/u);
});
