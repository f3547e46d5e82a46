import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type TaggedFormat, taggedRecords } from '../../../src/source/packages/tagged.ts';

const format: TaggedFormat = {
  name: 'list',
  tags: 'PV',
  continues: (_, line) => line.startsWith(' '),
};

function parse(input: string): Record<string, string>[] {
  return Array.from(taggedRecords(Buffer.from(input, 'latin1'), format), (record) =>
    Object.fromEntries(record),
  );
}

test('yields the wanted values of each record and passes over the rest, repeated ones too', () => {
  assert.deepEqual(parse('P:a\nF:x\nF:y\nV:1\n\n\nP:b\nV:\n\n'), [
    { P: 'a', V: '1' },
    { P: 'b', V: '' },
  ]);
});

test('a continued value keeps its lines and does not end the record', () => {
  assert.deepEqual(parse('P:a\n P:forged\nV:1\n\n'), [{ P: 'a\n P:forged', V: '1' }]);
});

test('bytes that are not UTF-8 are shown, not lost', () => {
  assert.deepEqual(parse('P:na\xefve\n\n'), [{ P: 'na\\xefve' }]);
});

test('a text cut anywhere but between records is refused, never read as fewer records', () => {
  const whole = 'P:a\nV:1\n\nP:b\nV:2\n\n';
  const between = new Set([0, 9, 18]);
  for (let length = 0; length <= whole.length; length++) {
    const cut = whole.slice(0, length);
    if (between.has(length)) assert.equal(parse(cut).length, length / 9);
    else assert.throws(() => parse(cut), /^Error: list: /, JSON.stringify(cut));
  }
});

test('says in which line what stands that should not', () => {
  assert.throws(() => parse('P:a\nnonsense\n\n'), /list: line 2: expected X:value, found 'nonsense'/);
  assert.throws(() => parse('P:a\n\0\0\0\0\n\n'), /list: line 2: expected X:value/);
  assert.throws(() => parse('P:a\nV:1\nP:b\nV:2\n\n'), /list: line 3: a second P: in one record/);
});
