import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Supply } from '../../src/run/supply.ts';
import type { Batch } from '../../src/spool/batch.ts';
import { FakeNode, plainEvent } from '../helpers/batches.ts';

const MIB = 1024 * 1024;
const nothing = async (): Promise<void> => {};

/** A batch of so many bytes, as far as it is counted. */
function heavy(bytes: number): Batch {
  return { ...new FakeNode().next('logins', 'log', [plainEvent()]), bytes: Buffer.alloc(bytes) };
}

test('P9: what is kept for a handler that takes nothing is bounded', () => {
  const supply = new Supply();
  const kept = supply.join('one');
  const batch = heavy(4 * MIB);
  for (let n = 0; n < 100; n++) supply.handed('one', `${n}`, [batch]);
  const taken = Array.from({ length: 100 }, (_, n) => kept.take(`${n}`)).filter((file) => file !== undefined);
  assert.ok(taken.length >= 1 && taken.length <= 8, `${taken.length} of 100 were kept`);
});

test('a file is kept until it is taken, and only for those at work', () => {
  const supply = new Supply();
  supply.handed('late', 'a', [heavy(1)]);
  const kept = supply.join('late');
  assert.equal(kept.take('a'), undefined);
  supply.handed('late', 'b', [heavy(7), heavy(5)]);
  assert.equal(kept.take('b')?.bytes, 12);
  assert.equal(kept.take('b'), undefined);
});

test('routing that is ahead waits for the first handler that runs low, and not at all for one that has left', async () => {
  const supply = new Supply();
  const [one, two] = [supply.join('one'), supply.join('two')];
  for (const handler of ['one', 'two']) supply.handed(handler, 'a', [heavy(12 * MIB)]);
  let goes = false;
  const ahead = supply.handOn(nothing).then(() => {
    goes = true;
  });
  await supply.alone(nothing);
  assert.equal(goes, false);
  one.take('a');
  await ahead;
  supply.leave('one');
  const again = supply.handOn(nothing);
  supply.leave('two');
  await again;
  assert.ok(two.enough);
});

test('P4: routing waits for a handler that is stuck once, not before every step', async () => {
  const supply = new Supply();
  supply.join('stuck');
  supply.handed('stuck', 'a', [heavy(12 * MIB)]);
  const started = performance.now();
  for (let n = 0; n < 50; n++) await supply.handOn(nothing);
  assert.ok(performance.now() - started < 20_000);
});
