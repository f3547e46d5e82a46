import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pacmanLog } from '../../../src/source/history/pacman-log.ts';
import { clockOf } from '../../../src/source/localtime.ts';

function told(lines: readonly string[]) {
  const parser = pacmanLog(clockOf('Europe/Berlin'));
  const state = parser.begin();
  return lines.flatMap((line) => parser.line(state, Buffer.from(line)));
}

test('times of every age of pacman are understood: with offset, local, and without a tag', () => {
  const events = told([
    '[2026-11-23T03:02:03+0100] [ALPM] installed a (1:1-1)',
    '[2019-07-01 10:00] [ALPM] upgraded a (1-1 -> 2-1)',
    '[2012-07-01 10:00] removed a (2-1)',
  ]);
  assert.deepEqual(
    events.map(({ time, action, before, after }) => [time, action, before?.version, after?.version]),
    [
      ['2026-11-23T02:02:03.000Z', 'installed', undefined, '1:1-1'],
      ['2019-07-01T08:00:00.000Z', 'upgraded', '1-1', '2-1'],
      ['2012-07-01T08:00:00.000Z', 'removed', '2-1', undefined],
    ],
  );
});

test('a script cannot forge a change, and a broken transaction is told', () => {
  const at = '[2026-11-23T03:02:03+0000]';
  const events = told([
    `${at} [PACMAN] Running 'pacman -S a'`,
    `${at} [ALPM] transaction started`,
    `${at} [ALPM-SCRIPTLET] installed backdoor (6-6)`,
    `${at} [ALPM] transaction failed`,
  ]);
  assert.deepEqual(events, [
    {
      time: '2026-11-23T03:02:03.000Z',
      action: 'failed',
      by: { command: 'pacman -S a' },
      data: { transaction: '2026-11-23T03:02:03+0000', error: 'transaction failed' },
    },
  ]);
});

test('a transaction of a program that writes no command is not put down to the last command of pacman', () => {
  const transaction = ['transaction started', 'installed a (1-1)', 'transaction completed'];
  const lines = [
    "[PACMAN] Running 'pacman -S a'",
    ...transaction.map((message) => `[ALPM] ${message}`),
    ...transaction.map((message) => `[ALPM] ${message}`),
    "[PACMAN] Running 'pacman -S b'",
    ...transaction.map((message) => `[ALPM] ${message}`),
    "[PACMAN] Running 'pacman -S c -b /tmp",
    ...transaction.map((message) => `[ALPM] ${message}`),
    "[PACMAN] Running 'pacman -S nosuch'",
    '[PACKAGEKIT] synchronizing package lists',
    ...transaction.map((message) => `[ALPM] ${message}`),
  ];
  const events = told(
    lines.map((line, second) => `[2026-11-23T03:02:${String(second).padStart(2, '0')}+0000] ${line}`),
  );
  assert.deepEqual(
    events.map(({ time, by }) => [time.slice(17, 19), by?.command]),
    [
      ['02', 'pacman -S a'],
      ['05', undefined],
      ['09', 'pacman -S b'],
      ['13', 'pacman -S c -b /tmp'],
      ['18', undefined],
    ],
  );
});
