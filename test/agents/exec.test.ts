import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setImmediate, setTimeout } from 'node:timers/promises';
import exec from '../../agents/exec.ts';
import { System } from '../../src/host/system.ts';
import type { Agent } from '../../src/plugin/agent.ts';
import { Bench } from '../helpers/bench.ts';
import { temporary } from '../helpers/tree.ts';
import { agentConformance } from '../suites/agent.ts';

agentConformance(exec);

/** A shell script of the running user's, in a folder that only this user may write. */
function script(t: TestContext, body: string): string {
  const path = join(temporary(t), 'check');
  writeFileSync(path, `#!/bin/sh\n${body}\n`, { mode: 0o755 });
  return path;
}

function agentFor(
  command: [string, ...string[]],
  kind: 'inventory' | 'log',
): { agent: Agent; options: object } {
  const options = { command, kind };
  return { agent: exec.create('mine', options), options };
}

async function run(bench: Bench, path: string, kind: 'inventory' | 'log'): ReturnType<Bench['run']> {
  const { agent, options } = agentFor([path], kind);
  return bench.run(agent, { options });
}

test('items that an executable writes become an inventory, and its changes are told', async (t) => {
  const bench = new Bench(t);
  const path = script(t, `echo '{"key":"disk/a","fields":{"size":1}}'`);
  await run(bench, path, 'inventory');
  writeFileSync(path, `#!/bin/sh\necho '{"key":"disk/b","fields":{"size":2}}'\n`);
  await run(bench, path, 'inventory');
  assert.deepEqual(
    bench.events('mine').map(({ action, item }) => `${action} ${item}`),
    ['present disk/a', 'removed disk/a', 'added disk/b'],
  );
});

test('events that an executable writes are sent, and it gets its cursor back', async (t) => {
  const bench = new Bench(t);
  const path = script(
    t,
    `n=$(( \${DSAC_CURSOR:-0} + 1 )); echo "{\\"action\\":\\"ticked\\",\\"data\\":{\\"n\\":$n},\\"cursor\\":$n}"`,
  );
  await run(bench, path, 'log');
  await run(bench, path, 'log');
  assert.deepEqual(
    bench.events('mine').map(({ data }) => data!.n),
    [1, 2],
  );
});

test('an executable that fails midway adds nothing', async (t) => {
  const bench = new Bench(t);
  for (const kind of ['inventory', 'log'] as const) {
    const path = script(t, `echo '{"key":"disk/a","fields":{}}'; echo oops >&2; exit 3`);
    const { outcome, reason } = await run(
      bench,
      kind === 'log' ? script(t, `echo '{"action":"x","cursor":1}'; exit 3`) : path,
      kind,
    );
    assert.equal(outcome, 'failed');
    assert.match(reason!, /exit 3/);
  }
  assert.deepEqual(bench.batches('mine'), []);
});

test('exit status 69 means that the source is absent, with what it said', async (t) => {
  const { outcome, reason } = await run(
    new Bench(t),
    script(t, 'echo "no array here" >&2; exit 69'),
    'inventory',
  );
  assert.equal(outcome, 'absent');
  assert.match(reason!, /no array here/);
});

test('a process that it leaves behind does not hold the run', async (t) => {
  const bench = new Bench(t);
  const started = Date.now();
  const leaves = script(t, `setsid sleep 30 & echo $! > "$0.pid"; sleep 0.3; echo '{"key":"a","fields":{}}'`);
  const { outcome, items } = await run(bench, leaves, 'inventory');
  process.kill(Number(readFileSync(`${leaves}.pid`, 'utf8')));
  assert.deepEqual([outcome, items], ['ok', 1]);
  assert.ok(Date.now() - started < 20_000);
});

test('P5: what it wrote before it ended is read to its end, however late that is', async () => {
  let lines = 0;
  for await (const _ of new System('/').lines('/bin/sh', ['-c', 'seq 1 30000'])) {
    if (++lines % 4000 !== 1) continue;
    await setTimeout(lines === 1 ? 200 : 0);
    await setImmediate();
    for (const start = Date.now(); Date.now() - start < 600; );
  }
  assert.equal(lines, 30_000);
});

test('a process that it leaves behind does not hold the run by writing on', async (t) => {
  for (const write of ['while echo y; do sleep 0.1; done', 'exec yes']) {
    const started = Date.now();
    const pid = join(temporary(t), 'pid');
    let lines = 0;
    const left = `setsid sh -c 'echo $$ > ${pid}; ${write}' & sleep 0.3`;
    for await (const _ of new System('/').lines('/bin/sh', ['-c', left])) lines++;
    process.kill(Number(readFileSync(pid, 'utf8')));
    assert.ok(lines > 0 && Date.now() - started < 20_000, write);
  }
});

test('P9: an inventory without end fails, and takes no memory without end', async (t) => {
  const value = 'v'.repeat(1_000_000);
  const endless = `i=0; while :; do i=$((i+1)); printf '{"key":"%s","fields":{"v":"${value}"}}\\n' $i; done`;
  const { outcome, reason } = await run(new Bench(t), script(t, endless), 'inventory');
  assert.equal(outcome, 'failed');
  assert.match(reason!, /too many for one inventory/);
});

test('a line that is not what it should be is named', async (t) => {
  const bench = new Bench(t);
  const { reason } = await run(bench, script(t, `echo '{"key":"a","fields":{}}'; echo hello`), 'inventory');
  assert.match(reason!, /check: line 2: not JSON/);
  const other = await run(bench, script(t, `echo '{"key":"a"}'`), 'inventory');
  assert.match(other.reason!, /check: line 1: fields: [^\n{[]*$/, 'one problem in one line');
});

const UNSOUND: Record<string, [kind: 'inventory' | 'log', line: string, reason: RegExp]> = {
  'a control character in a key': [
    'inventory',
    '{"key":"a\\nb","fields":{}}',
    /item "a\\nb": item: no control characters/,
  ],
  'a key that is too long': [
    'inventory',
    `{"key":"${'k'.repeat(600)}","fields":{}}`,
    /item "k+": item: .*512/,
  ],
  'fields that nest too deep': [
    'inventory',
    `{"key":"k","fields":{"a":${'['.repeat(40)}${']'.repeat(40)}}}`,
    /item "k": nests deeper than 32/,
  ],
  'an event that nests too deep': [
    'log',
    `{"action":"ticked","data":{"a":${'['.repeat(40)}${']'.repeat(40)}}}`,
    /event 'ticked' of .*: nests deeper than 32/,
  ],
};
for (const [what, [kind, line, reason]] of Object.entries(UNSOUND)) {
  test(`${what} makes no batch that a reader must reject`, async (t) => {
    const bench = new Bench(t);
    const outcome = await run(bench, script(t, `cat <<'END'\n${line}\nEND`), kind);
    assert.equal(outcome.outcome, 'failed');
    assert.match(outcome.reason ?? '', reason);
    assert.deepEqual(bench.events('mine'), []);
  });
}

test('an executable that others may write, or whose folder they may, is refused', async (t) => {
  const bench = new Bench(t);
  const path = script(t, 'exit 0');
  chmodSync(path, 0o777);
  assert.match((await run(bench, path, 'inventory')).reason!, /writable by others/);
  const folder = join(temporary(t), 'open');
  mkdirSync(folder);
  chmodSync(folder, 0o777);
  writeFileSync(join(folder, 'check'), '#!/bin/sh\n', { mode: 0o755 });
  assert.match((await run(bench, join(folder, 'check'), 'inventory')).reason!, /open is writable by others/);
  assert.match((await run(bench, 'check', 'inventory')).reason!, /absolute path/);
});
