import assert from 'node:assert/strict';
import { test } from 'node:test';
import { amountSchema } from '../../src/config/schema.ts';
import { amountOf, formatSize } from '../../src/config/size.ts';

test('a size, a bare number and a share are amounts, and what is none is refused with the forms there are', () => {
  assert.deepEqual(
    ['1GiB', '500MB', '1.5 KiB', '4096', 7, '5%'].map((text) => amountOf(amountSchema.parse(text), 1000)),
    [2 ** 30, 5e8, 1536, 4096, 7, 50],
  );
  for (const text of ['', 'much', '101%', '-1', '5XB', '1e3'])
    assert.match(amountSchema.safeParse(text).error?.issues[0]?.message ?? '', /use a size such as 500MB/);
});

test('of a number and a share the smaller counts', () => {
  assert.deepEqual(
    [10_000, 100].map((total) => amountOf({ most: 20, share: 0.05 }, total)),
    [20, 5],
  );
});

test('a size is shown in the units in which quotas are written', () => {
  assert.deepEqual([812, 2 ** 30, 4.25 * 2 ** 20].map(formatSize), ['812 B', '1 GiB', '4.3 MiB']);
});
