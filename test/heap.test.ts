import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';

const MIB = 1024 * 1024;
const HEAP = new URL('../src/heap.ts', import.meta.url).href;

/** How large V8's young space becomes, in MiB, of work in which much survives for a while; `between` is done between its pieces. */
function youngSpaceOf(between: string): number {
  const script = `
    import { getHeapSpaceStatistics } from 'node:v8';
    import { holdYoungSpace } from '${HEAP}';
    const recent = new Array(300_000);
    let largest = 0;
    for (let n = 0; n < 8_000_000; n++) {
      recent[n % recent.length] = { n, text: 'row ' + n };
      if (n % 10_000 !== 0) continue;
      ${between};
      const young = getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space');
      largest = Math.max(largest, young.space_size);
    }
    console.log(largest);`;
  // Else the most that it may be depends on how much memory the machine has.
  const args = ['--max-semi-space-size=64', '--input-type=module', '-e', script];
  const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 60_000 });
  assert.equal(stderr, '', 'V8 or Node complained');
  return Number(stdout) / MIB;
}

test('memory for young objects does not grow with the length of the work', () => {
  const [left, held] = [youngSpaceOf(''), youngSpaceOf('holdYoungSpace()')];
  assert.ok(left > 40, `left alone it became ${left} MiB: this work shows nothing, make more of it survive`);
  assert.ok(held <= 34, `held, it became ${held} MiB, left alone ${left}`);
});
