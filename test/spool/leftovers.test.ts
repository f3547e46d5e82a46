import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Archive } from '../../src/archive/archive.ts';
import { silentLog } from '../../src/log.ts';
import { realDisk } from '../../src/spool/disk.ts';
import { sweepLeftovers } from '../../src/spool/leftovers.ts';
import { batchFile, isLeftover, segmentNamer } from '../../src/spool/names.ts';
import { FakeNode, plainEvent } from '../helpers/batches.ts';
import { Home } from '../helpers/dsac.ts';
import { temporary } from '../helpers/tree.ts';

const HOUR = 3600;

interface Place {
  readonly file: string;
  sweep(boot: string, up: number): Promise<boolean>;
}

function place(t: TestContext): Place {
  const folder = temporary(t);
  const file = join(folder, 'segment.x.0000000001.jsonl');
  writeFileSync(file, 'half');
  const memory = join(folder, 'lib/leftovers.json');
  return {
    file,
    async sweep(boot, up) {
      const removed = await sweepLeftovers(realDisk, memory, existsSync(file) ? [file] : [], { boot, up });
      assert.equal(removed.length > 0, !existsSync(file));
      return !existsSync(file);
    },
  };
}

test('P9: what a crash left is removed when it was the same an hour of uptime ago, or before the machine started anew', async (t) => {
  const one = place(t);
  assert.equal(await one.sweep('a', 100), false, 'its writer may be at work');
  assert.equal(await one.sweep('a', 100 + HOUR - 1), false);
  assert.equal(await one.sweep('a', 100 + HOUR), true);
  const two = place(t);
  await two.sweep('a', 100);
  assert.equal(await two.sweep('b', 5), true);
});

test('P9: a file that is still written, or whose clock jumped, is not taken for a leftover', async (t) => {
  const one = place(t);
  await one.sweep('a', 100);
  writeFileSync(one.file, 'half and more');
  assert.equal(await one.sweep('a', 100 + HOUR), false);
  const year = 31_536_000;
  utimesSync(one.file, Date.now() / 1000 - year, Date.now() / 1000 - year);
  assert.equal(
    await one.sweep('a', 101 + HOUR),
    false,
    'an old date on a file is no proof: the clock may have jumped',
  );
  assert.equal(await one.sweep('a', 101 + 2 * HOUR), true);
});

test('a memory that is damaged makes everything seen for the first time', async (t) => {
  const one = place(t);
  await one.sweep('a', 100);
  writeFileSync(join(one.file, '../lib/leftovers.json'), '\0\0');
  assert.equal(await one.sweep('b', 100), false);
  assert.equal(await one.sweep('c', 100), true);
});

test('only names that nobody comes back to are leftovers: never a batch that an agent may have committed', () => {
  const batch = batchFile({
    node: '6f1c5a9e-0f5e-4d0e-8a54-3c1c7d4a9b10',
    agent: 'segment',
    epoch: '20261101000000-aaaaaa',
    seq: 7,
  });
  const once = [
    segmentNamer(0)(),
    'message.019aa5a5-7f2b-7cc3-98c4-dc0c0c07398f.0000000001.jsonl.zst',
    `divide.broker.${batch}`,
  ];
  assert.deepEqual(
    once.map((name) => isLeftover('out', name)),
    [true, true, true],
  );
  for (const agent of ['packages', 'segment', 'message', 'divide']) {
    const name = batchFile({ node: '6f1c5a9e-0f5e-4d0e-8a54-3c1c7d4a9b10', agent, epoch: 'e', seq: 1 });
    assert.deepEqual([isLeftover('out', name), isLeftover('in', name)], [false, true], name);
  }
  assert.equal(isLeftover('in', 'README'), false);
});

test('P9: dispatch and process clear tmp of what crashes left, and touch nothing that an agent has pending', async (t) => {
  const home = new Home(t);
  await home.run('init');
  const batch = new FakeNode().next('logins', 'log', [plainEvent()]);
  const pending = batchFile(batch.header);
  for (const [command, stack] of [
    ['dispatch', 'out'],
    ['process', 'in'],
  ] as const) {
    const tmp = join(home.path, 'var/spool/dsac', stack, 'tmp');
    for (const name of [segmentNamer(0)(), `divide.broker.${pending}`, pending])
      writeFileSync(join(tmp, name), 'half');
    await home.run(command);
    assert.equal(readdirSync(tmp).length, 3, 'removed at first sight');
    const memory = join(home.path, 'var/lib/dsac/handlers', stack, 'leftovers.json');
    // As if they had been seen in an earlier boot.
    writeFileSync(memory, readFileSync(memory, 'utf8').replaceAll(/"boot":"[^"]*"/g, '"boot":"another"'));
    await home.run(command);
    assert.deepEqual(readdirSync(tmp), stack === 'out' ? [pending] : []);
  }
});

test('P9: the archive clears itself of segments that a crash left half-written, also in folders of past days', async (t) => {
  const root = temporary(t);
  let now = new Date('2026-11-24T23:59:00.000Z');
  const node = new FakeNode();
  const keep = async (): Promise<void> => {
    const archive = await Archive.open(root, silentLog, () => now);
    await archive.keep([node.next('logins', 'log', [plainEvent()])]);
    archive.close();
  };
  await keep();
  const leftover = join(root, '2026/11/24', '.segment.x.0000000001.jsonl.zst.new');
  writeFileSync(leftover, 'half');
  await keep();
  assert.ok(existsSync(leftover), 'removed at first sight');
  now = new Date('2026-11-25T01:30:00.000Z');
  await keep();
  const memory = join(root, 'leftovers.json');
  writeFileSync(memory, readFileSync(memory, 'utf8').replaceAll(/"boot":"[^"]*"/g, '"boot":"another"'));
  await keep();
  assert.equal(existsSync(leftover), false);
  assert.equal(readdirSync(join(root, '2026/11/24')).length, 2);
});
