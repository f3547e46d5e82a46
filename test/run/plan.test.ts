import assert from 'node:assert/strict';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { planned } from '../../src/run/plan.ts';
import { temporary } from '../helpers/tree.ts';

test('a plan is made once for the same things, and again for any other', async (t) => {
  const path = join(temporary(t), 'plan.json');
  let made = 0;
  const plan = (...parts: unknown[]) => planned(path, parts, async () => ({ of: parts, number: ++made }));
  assert.deepEqual(await plan('build', 'text'), { of: ['build', 'text'], number: 1 });
  assert.deepEqual(await plan('build', 'text'), { of: ['build', 'text'], number: 1 });
  assert.equal((await plan('build', 'other text')).number, 2);
  assert.equal((await plan('other build', 'text')).number, 3);
  assert.equal((await plan('build', null)).number, 4);
  assert.equal((await plan('build', 'text')).number, 1, 'one line’s plan was lost to another’s');
  assert.equal(statSync(path).mode & 0o777, 0o600, 'others may read what the configuration’s owner may');
});

for (const [what, damage] of [
  ['empty', () => ''],
  ['cut', (text: string) => text.slice(0, -10)],
  ['of another form', () => '{"key":"plan"}'],
  ['a list of anything', () => '[1,null,"x"]'],
  ['another in one letter', (text: string) => text.replace('first', 'fjrst')],
  ['without their plan', (text: string) => text.replace(',"first"', '')],
] as const) {
  test(`remembered plans that are ${what} are made anew`, async (t) => {
    const path = join(temporary(t), 'plan.json');
    await planned(path, 'it', async () => 'first');
    writeFileSync(path, damage(readFileSync(path, 'utf8')));
    assert.equal(await planned(path, 'it', async () => 'second'), 'second');
    assert.equal(await planned(path, 'it', async () => 'third'), 'second');
  });
}

test('what JSON would change is not remembered', async (t) => {
  const path = join(temporary(t), 'plan.json');
  const make = async () => ({ when: new Date(0) });
  await planned(path, 'it', make);
  assert.deepEqual(await planned(path, 'it', make), await make());
});

test('a plan that cannot be written is made every time', async (t) => {
  const path = join(temporary(t), 'no-folder', 'plan.json');
  assert.equal(await planned(path, 'it', async () => 'first'), 'first');
  assert.equal(await planned(path, 'it', async () => 'second'), 'second');
});
