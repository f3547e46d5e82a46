import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { apkLog } from '../../../src/source/history/apk-log.ts';
import { aptHistory } from '../../../src/source/history/apt-history.ts';
import { dpkgLog } from '../../../src/source/history/dpkg-log.ts';
import {
  type HistoryEvent,
  type HistoryParser,
  nextTransaction,
} from '../../../src/source/history/packagehistory.ts';
import { pacmanLog } from '../../../src/source/history/pacman-log.ts';
import { zyppHistory } from '../../../src/source/history/zypp-history.ts';
import { clockOf } from '../../../src/source/localtime.ts';
import { fixtures } from '../../helpers/tree.ts';

const UTC = clockOf('UTC');

/** Feeds lines; before line `cut` there is an end of what there is, and the state goes through JSON and its schema as a stored cursor does. */
function told<S>(parser: HistoryParser<S>, lines: readonly Buffer[], now: Date, cut: number): HistoryEvent[] {
  let state = parser.begin();
  const events: HistoryEvent[] = [];
  for (const [index, line] of lines.entries()) {
    if (index === cut) {
      events.push(...parser.settle(state, now));
      state = parser.state.parse(JSON.parse(JSON.stringify(state)));
    }
    events.push(...parser.line(state, line));
  }
  return events;
}

/** Checks a parser over a fixture with a stop before every line; `now` is a time at which nothing in it is old. */
function resumes<S>(name: string, now: string, make: (now: Date) => HistoryParser<S>): void {
  test(`a run that stops at any line of ${name} changes nothing of what is told`, () => {
    const bytes = readFileSync(join(fixtures, 'history', name));
    const lines = bytes
      .toString('latin1')
      .split('\n')
      .map((line) => Buffer.from(line, 'latin1'));
    const at = new Date(now);
    const whole = told(make(at), lines, at, -1);
    assert.ok(whole.length > 0);
    for (let cut = 0; cut < lines.length; cut++)
      assert.deepEqual(told(make(at), lines, at, cut), whole, `stopped before line ${cut + 1}`);
  });
}

resumes('lab12.apt-history', '2026-11-23T03:00:00Z', (now) => aptHistory(UTC, now));
resumes('lab12-injection.apt-history', '2026-11-23T04:00:00Z', (now) => aptHistory(UTC, now));
resumes('evil.apt-history', '2024-03-31T04:00:00Z', (now) => aptHistory(UTC, now));
resumes('lab12.dpkg-log', '2026-11-23T04:00:00Z', () => dpkgLog(UTC));
resumes('lab-alpha.zypp-history', '2026-11-23T04:00:00Z', () => zyppHistory(UTC));
resumes('synthetic.apk-log', '2025-01-05T11:00:00Z', () => apkLog());
resumes('lab-alpha.pacman-log', '2026-11-23T04:00:00Z', () => pacmanLog(UTC));

test('commands that begin in one second have ids of their own, across runs too', () => {
  let starts = { at: '', count: 0 };
  const ids = ['a', 'a', 'b', 'a'].map((written) => {
    starts = JSON.parse(JSON.stringify(starts));
    return nextTransaction(starts, written);
  });
  assert.deepEqual(ids, ['a', 'a#2', 'b', 'a']);
});
