import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseShow, parseStamp, parseUnitFiles, parseWords } from '../../../src/source/services/systemctl.ts';

const lines = (value: string): Buffer[] => value.split('\n').map((line) => Buffer.from(line));

test('a time of systemctl is read in each of its forms, and none where there is none', () => {
  assert.equal(parseStamp('Tue 2026-11-24 03:41:13 UTC'), '2026-11-24T03:41:13.000Z');
  assert.equal(parseStamp('Tue 2026-11-24 03:41:13.123456 UTC'), '2026-11-24T03:41:13.123Z');
  assert.equal(parseStamp('@1795402338'), '2026-11-23T02:52:18.000Z');
  for (const none of [undefined, '', 'n/a', '0', '@0', 'Tue 2026-13-44 03:41:13 UTC', '@99999999999999999'])
    assert.equal(parseStamp(none), undefined, `${none}`);
});

test('a time in a zone that is not UTC is not taken for one', () => {
  assert.equal(parseStamp('Tue 2026-11-24 03:41:13 CET'), undefined);
});

test('the words of a list property are unquoted, so that an escaped name stays one name', () => {
  assert.deepEqual(parseWords('ssh.service sshd.service'), ['ssh.service', 'sshd.service']);
  assert.deepEqual(parseWords(String.raw`"dsac-tmpl@a\\x2db.service" "/etc/a b.conf"`), [
    String.raw`dsac-tmpl@a\x2db.service`,
    '/etc/a b.conf',
  ]);
  assert.deepEqual(parseWords(undefined), []);
});

test('units are told apart by empty lines, whatever the order of their properties', async () => {
  const units = await parseShow(
    lines('MainPID=1\nId=a.service\nResult=\n\nNames=b.timer c.timer\nId=b.timer\n'),
  );
  assert.deepEqual(units, [
    { MainPID: '1', Id: 'a.service', Result: '' },
    { Names: 'b.timer c.timer', Id: 'b.timer' },
  ]);
});

test('unit files are read with or without a preset column, other types and summaries passed over', async () => {
  const files = await parseUnitFiles(
    lines('nginx.service   enabled enabled\nold.timer masked\na.mount static -\n\n3 unit files listed.\n'),
  );
  assert.deepEqual(
    [...files],
    [
      ['nginx.service', 'enabled'],
      ['old.timer', 'masked'],
    ],
  );
});
