/** Commands that are told to stop, or that may only run for so long: real processes, as cron and systemd start and end them. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { decode } from '../../src/spool/decode.ts';
import { batchFile } from '../../src/spool/names.ts';
import { FakeNode, plainEvent } from '../helpers/batches.ts';
import { Home } from '../helpers/dsac.ts';
import { ownQueue, servicesLeftOut } from '../helpers/services.ts';

const bin = fileURLToPath(new URL('../../bin/dsac.js', import.meta.url));

/** Batches in a queue: more than a consumer takes before it hears of its end. */
const BACKLOG = 600;

/** A script that may be run as root: its own and its folder's modes allow nobody else to write. */
function script(home: Home, name: string, text: string): string {
  const folder = join(home.path, 'bin');
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  const path = join(folder, name);
  writeFileSync(path, `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  return path;
}

interface Ended {
  readonly code: number | null;
  readonly stderr: string;
  readonly ms: number;
}

/** Starts a command; `stop()` sends SIGTERM and answers how it ended, and how long that took. */
function start(
  t: TestContext,
  home: Home,
  ...args: string[]
): { child: ChildProcess; stop(): Promise<Ended>; end(): Promise<Ended> } {
  const child = spawn(process.execPath, [bin, ...args, '--home', home.path], {
    env: { ...process.env, NODE_OPTIONS: '' },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  t.after(() => child.kill('SIGKILL'));
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const closed = once(child, 'close');
  const end = async (): Promise<Ended> => {
    const begun = performance.now();
    const [code] = (await closed) as [number | null];
    return { code, stderr, ms: performance.now() - begun };
  };
  return {
    child,
    end,
    stop() {
      child.kill('SIGTERM');
      return end();
    },
  };
}

async function until(condition: () => boolean): Promise<void> {
  for (let n = 0; !condition(); n++) {
    if (n > 1500) throw new Error('it did not come to that within 30 s');
    await sleep(20);
  }
}

function batchesIn(directory: string, agent: string) {
  return (existsSync(directory) ? readdirSync(directory) : [])
    .filter((name) => name.startsWith(`${agent}.`))
    .sort()
    .map((name) => [...decode(readFileSync(join(directory, name)))][0]!.batch!);
}

/** Handlers that take one batch each and note it, 0.3 s apart. */
function slowHandlers(home: Home, folder: 'dispatchers' | 'processors'): string {
  const taken = join(home.path, 'taken');
  const slow = script(home, 'slow', `sleep 0.3; cat > /dev/null; echo $DSAC_SEQ >> ${taken}`);
  mkdirSync(join(home.path, 'etc/dsac'), { recursive: true });
  writeFileSync(
    join(home.path, 'etc/dsac/dsac.yaml'),
    `${folder}: { slow: { type: exec, command: [${slow}] } }\n`,
  );
  return taken;
}

const lines = (path: string): number[] =>
  existsSync(path) ? readFileSync(path, 'utf8').trim().split('\n').map(Number) : [];

for (const [command, folder, stack] of [
  ['dispatch', 'dispatchers', 'out'],
  ['process', 'processors', 'in'],
] as const) {
  for (const how of ['SIGTERM', '--max-time'] as const) {
    test(`P9: ${command} ended by ${how} finishes the batch in hand, leaves the rest, and the next run goes on`, async (t) => {
      const home = new Home(t);
      const taken = slowHandlers(home, folder);
      await home.run('init');
      const node = new FakeNode();
      const into = join(home.path, 'var/spool/dsac', stack, 'new');
      mkdirSync(into, { recursive: true });
      const all = Array.from({ length: 8 }, (_, n) => node.next('logins', 'log', [plainEvent(n)]));
      for (const batch of all) writeFileSync(join(into, batchFile(batch.header)), batch.bytes);
      const run = start(t, home, command, ...(how === '--max-time' ? ['--max-time', '1500ms'] : []));
      if (how === 'SIGTERM') await until(() => lines(taken).length >= 1);
      const { code, stderr, ms } = await (how === 'SIGTERM' ? run.stop() : run.end());
      assert.deepEqual([code, stderr], [0, '']);
      if (how === 'SIGTERM') assert.ok(ms < 9000, `it took ${ms} ms to leave`);
      const queue = join(home.path, 'var/spool/dsac', stack, 'queue/slow');
      const queued = existsSync(queue) ? readdirSync(queue).length : 0;
      const [done, left] = [lines(taken).length, queued + readdirSync(into).length];
      assert.ok(left > 0, 'it went on to the end');
      assert.equal(
        done + left,
        8,
        'a batch that was taken is still in the queue, or one is gone that was not',
      );
      await home.run(command);
      assert.deepEqual(lines(taken), [1, 2, 3, 4, 5, 6, 7, 8]);
    });
  }
}

for (const follow of [[], ['--follow']]) {
  test(`P2: ${['consume', ...follow].join(' ')} ended by SIGTERM keeps what it was handed, and leaves the rest in the queue`, {
    skip: servicesLeftOut,
  }, async (t) => {
    const { url, exchange, queue } = ownQueue(t);
    const broker = `url: '${url}', exchange: ${exchange}`;
    const home = new Home(
      t,
      `dispatchers: { broker: { type: amqp, ${broker} } }\nconsume: { ${broker}, queue: ${queue}, prefetch: 100 }\n`,
    );
    await home.run('init');
    await home.run('consume', '--setup');
    const node = new FakeNode();
    for (let n = 0; n < BACKLOG; n++) {
      const { header, bytes } = node.next('logins', 'log', [plainEvent(n)]);
      writeFileSync(join(home.path, 'var/spool/dsac/out/new', batchFile(header)), bytes);
    }
    await home.run('dispatch');
    const arrived = join(home.path, 'var/spool/dsac/in/new');
    const run = start(t, home, 'consume', ...follow);
    await until(() => readdirSync(arrived).length > 0);
    const { code, stderr, ms } = await run.stop();
    assert.deepEqual([code, stderr], [0, '']);
    assert.ok(ms < 9000, `it took ${ms} ms to leave`);
    const numbers = (): number[] =>
      readdirSync(arrived).flatMap((name) =>
        [...decode(readFileSync(join(arrived, name)))].map(({ batch }) => batch!.header.seq),
      );
    const { length } = numbers();
    assert.ok(length > 0 && length < BACKLOG, `it took ${length} of ${BACKLOG}`);
    await home.run('consume');
    assert.deepEqual(
      numbers().sort((a, b) => a - b),
      Array.from({ length: BACKLOG }, (_, n) => n + 1),
      'what it had acknowledged is kept, what it had not is handed over again',
    );
  });
}

for (const how of ['SIGTERM', '--max-time'] as const) {
  test(`P9: an agent ended by ${how} in the middle of its source keeps nothing half, says so, and the next run reads all of it once`, async (t) => {
    const home = new Home(t);
    await home.run('init');
    const begun = join(home.path, 'begun');
    const go = join(home.path, 'go');
    const source = script(
      home,
      'source',
      `for n in 1 2 3; do echo "{\\"action\\":\\"counted\\",\\"data\\":{\\"n\\":$n},\\"cursor\\":$n}"; done; touch ${begun}; test -e ${go} || sleep 60`,
    );
    writeFileSync(
      join(home.path, 'etc/dsac/dsac.yaml'),
      `agents: { mine: { type: exec, kind: log, command: [${source}] } }\n`,
    );
    const run = start(t, home, 'agent', 'mine', ...(how === '--max-time' ? ['--max-time', '3s'] : []));
    if (how === 'SIGTERM') await until(() => existsSync(begun));
    const { code, stderr, ms } = await (how === 'SIGTERM' ? run.stop() : run.end());
    assert.equal(code, 75, stderr);
    assert.match(
      stderr,
      how === 'SIGTERM'
        ? /^dsac-agent: mine: failed: .*stopped by a signal\n$/
        : /^dsac-agent: mine: failed: .*--max-time is over\n$/,
    );
    if (how === 'SIGTERM') assert.ok(ms < 9000, `it took ${ms} ms to leave`);
    const out = join(home.path, 'var/spool/dsac/out/new');
    assert.deepEqual(batchesIn(out, 'mine'), []);
    const [receipt] = [...batchesIn(out, 'receipts')[0]!.events()];
    assert.deepEqual([receipt!.data!.outcome, receipt!.data!.cause], ['failed', 'stopped']);
    writeFileSync(go, '');
    await home.run('agent', 'mine');
    assert.deepEqual(
      batchesIn(out, 'mine').flatMap((batch) => [...batch.events()].map(({ data }) => data!.n)),
      [1, 2, 3],
    );
  });
}

test('P8: while one agent run is at work, another leaves at once, quietly', async (t) => {
  const home = new Home(t);
  await home.run('init');
  const begun = join(home.path, 'begun');
  const source = script(home, 'source', `touch ${begun}; sleep 30`);
  writeFileSync(
    join(home.path, 'etc/dsac/dsac.yaml'),
    `agents: { mine: { type: exec, kind: log, command: [${source}] } }\n`,
  );
  const first = start(t, home, 'agent', 'mine');
  await until(() => existsSync(begun));
  const second = await home.try('agent', 'mine');
  assert.deepEqual([second.code, second.stderr], [0, '']);
  assert.equal(first.child.exitCode, null);
  assert.equal((await first.stop()).code, 75);
  assert.ok(statSync(join(home.path, 'var/lib/dsac/agents/mine/lock')).isFile());
});
