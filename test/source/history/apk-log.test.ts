import assert from 'node:assert/strict';
import { test } from 'node:test';
import { apkLog } from '../../../src/source/history/apk-log.ts';

const RUN = 'Running `apk add a` at 2025-01-05 10:00:00';

function told(lines: readonly string[], now = '2025-01-05T11:00:00Z') {
  const parser = apkLog();
  const state = parser.begin();
  const events = lines.flatMap((line) => parser.line(state, Buffer.from(line)));
  return [...events, ...parser.settle(state, new Date(now))];
}

test('a package whose archive is bad failed; one whose script failed is installed, with the error', () => {
  const events = told([
    RUN,
    '(1/2) Installing a (1.0-r0)',
    'ERROR: a-1.0-r0: BAD archive',
    '(2/2) Installing b@edge (2.0-r0)',
    'ERROR: b-2.0-r0.post-install: script exited with error 1',
    '2 errors; 5 MiB in 9 packages',
  ]);
  assert.deepEqual(
    events.map(({ action, item, data }) => [action, item, data!.error]),
    [
      ['failed', 'apk/a', 'a-1.0-r0: BAD archive'],
      ['installed', 'apk/b', 'b-2.0-r0.post-install: script exited with error 1'],
    ],
  );
});

test('a command line with line breaks in it hides nothing, and one that was cut hides no later run', () => {
  const change = ['(1/1) Installing a (1.0-r0)', 'OK: 5 MiB in 9 packages'];
  const events = told([
    'Running `apk add -t .x',
    '',
    'y a` at 2025-01-05 10:00:00',
    ...change,
    'Running `apk add',
    RUN,
    ...change,
  ]);
  assert.deepEqual(
    events.map(({ action, item, by }) => [action, item, by?.command]),
    [
      ['installed', 'apk/a', 'apk add -t .x\n\ny a'],
      ['installed', 'apk/a', 'apk add a'],
    ],
  );
});

test('a command that changed nothing because it failed is told with its reason', () => {
  const [event] = told([
    RUN,
    'ERROR: unable to select packages:',
    '  x (no such package):',
    '    required by: world[x]',
    RUN,
  ]);
  assert.equal(event!.action, 'failed');
  assert.equal(event!.by!.command, 'apk add a');
  assert.equal(event!.data!.error, 'unable to select packages: x (no such package): required by: world[x]');
});

test('a run that has not ended waits, a day at most', () => {
  const lines = [RUN, '(1/2) Purging a (1.0-r0)'];
  assert.deepEqual(told(lines), []);
  const [event] = told(lines, '2025-01-06T11:00:00Z');
  assert.deepEqual(
    [event!.action, event!.before, event!.data!.unfinished],
    ['removed', { version: '1.0-r0' }, true],
  );
});
