import assert from 'node:assert/strict';
import { test } from 'node:test';
import { zyppFields, zyppHistory } from '../../../src/source/history/zypp-history.ts';
import { clockOf } from '../../../src/source/localtime.ts';

const AT = '2026-11-23 03:01:23';

function told(lines: readonly string[]) {
  const parser = zyppHistory(clockOf('UTC'));
  const state = parser.begin();
  return lines.flatMap((line) => parser.line(state, Buffer.from(line)));
}

test('an escaped separator or backslash is text, a last one alone too', () => {
  assert.deepEqual(zyppFields(String.raw`a\|b|c\\|d|x\y`), ['a|b', String.raw`c\ `.trim(), 'd', 'xy']);
  assert.deepEqual(zyppFields('a|b\\'), ['a', 'b\\']);
});

test('a package is told with the command that it came with and who ran it', () => {
  const [event] = told([
    `${AT}|command|root@lab|'zypper' 'in' 'a'|`,
    `${AT}|install|a|1:2-3|noarch|root@lab|repo|sum|`,
  ]);
  assert.deepEqual(event, {
    time: '2026-11-23T03:01:23.000Z',
    action: 'installed',
    item: 'rpm/a/noarch',
    after: { version: '1:2-3' },
    by: { user: 'root', command: "'zypper' 'in' 'a'" },
    data: { transaction: AT, repository: 'repo' },
  });
});

test('what was not asked for by name is marked, and still has its command', () => {
  const [event] = told([`${AT}|command|alice@lab|'zypper' 'up'|`, `${AT}|install|a|1-1|noarch||repo|sum|`]);
  assert.deepEqual([event!.data!.auto, event!.by!.user], [true, 'alice']);
});

test('an installation or removal that failed, which only a comment says, is told as failed', () => {
  const events = told([
    `# ${AT} alpha-failpre-1.0-1.noarch.rpm install failed`,
    `# ${AT} alpha-b-c-2.0~x-1.el9.x86_64 remove failed`,
    `# ${AT} alpha-1.0-1.noarch.rpm installed ok`,
    '# error: install failed',
  ]);
  assert.deepEqual(
    events.map(({ action, item, before, after }) => [action, item, before?.version ?? after?.version]),
    [
      ['failed', 'rpm/alpha-failpre/noarch', '1.0-1'],
      ['failed', 'rpm/alpha-b-c/x86_64', '2.0~x-1.el9'],
    ],
  );
});

test('repositories, patches, cut and damaged lines are passed over', () => {
  assert.deepEqual(
    told([
      `${AT}|radd   |r|file:/r|`,
      `${AT}|patch  |p|1|noarch|r|important|`,
      `${AT}|install`,
      'x|install|a|1|',
      '|',
    ]),
    [],
  );
});
