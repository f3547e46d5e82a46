/** The quick form of every torture fault: `npm run test:torture` runs the long ones. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isSound, tryFault } from './torture/fault.ts';
import { allFaults } from './torture/faults.ts';
import { tableOf } from './torture/table.ts';

const seed = Number(process.env.DSAC_SEED ?? Math.floor(Math.random() * 2 ** 31));

for (const fault of await allFaults()) {
  const why = fault.leftOut?.();
  test(`${fault.promises}: ${fault.summary}`, {
    skip: why !== undefined && `left out: ${why}`,
  }, async (t) => {
    const tallies = await tryFault(fault, { quick: true, seed, log: (text) => t.diagnostic(text) });
    const table = tableOf(tallies, []);
    t.diagnostic(`seed ${seed}\n${table}`);
    assert.ok(tallies.length > 0 && tallies.every(isSound), `seed ${seed}\n${table}`);
  });
}
