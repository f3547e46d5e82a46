import assert from 'node:assert/strict';
import test from 'node:test';
import { retried } from '../../src/store/retry.ts';

test('a connection that went while a transaction was rolled back is tried again', async () => {
  let calls = 0;
  const answer = await retried('db', async () => {
    if (++calls > 1) return 'loaded';
    const message = "Can't add new command when connection is in closed state";
    throw Object.assign(new Error(message), { fatal: true });
  });
  assert.equal(answer, 'loaded');
});
