import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openLog } from '../src/log.ts';

test('a log on a full disk is told once and stops nothing', async () => {
  const complaints: string[] = [];
  const log = await openLog('dsac-test', '/dev/full', {
    verbose: false,
    complain: (reason) => complaints.push(reason),
  });
  log.info({}, 'one');
  log.info({}, 'two');
  await new Promise((settle) => setImmediate(settle));
  assert.deepEqual(complaints.length, 1);
  assert.match(complaints[0]!, /cannot write the log \/dev\/full: ENOSPC/);
});
