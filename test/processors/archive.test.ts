import assert from 'node:assert/strict';
import { cpSync, globSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { zstdDecompressSync } from 'node:zlib';
import archive from '../../processors/archive.ts';
import { Archive } from '../../src/archive/archive.ts';
import { type Log, silentLog } from '../../src/log.ts';
import type { Batch } from '../../src/spool/batch.ts';
import { decode } from '../../src/spool/decode.ts';
import { realDisk } from '../../src/spool/disk.ts';
import { FakeNode, plainEvent } from '../helpers/batches.ts';
import { Counter } from '../helpers/handlers.ts';
import { fill, smallDisk } from '../helpers/small-disk.ts';
import { temporary } from '../helpers/tree.ts';
import { handlerConformance } from '../suites/handler.ts';

/** Segments in an archive, oldest first. */
function segments(root: string): string[] {
  return globSync('*/*/*/*.jsonl.zst', { cwd: root }).sort();
}

/** Every batch that an archive holds, from its segments alone. */
function kept(root: string): Batch[] {
  return segments(root).flatMap((name) =>
    [...decode(zstdDecompressSync(readFileSync(join(root, name))))].map(({ batch }) => batch!),
  );
}

handlerConformance(archive, {
  folder: 'processors',
  destination: (_t, { paths }) => {
    const root = join(paths.lib, 'archive');
    return { options: {}, arrived: async () => kept(root).map(({ trailer }) => trailer.sha256) };
  },
  down: (t) => {
    const file = join(temporary(t), 'a-file');
    writeFileSync(file, '');
    return { path: join(file, 'archive') };
  },
});

/** Opens an archive whose clock the test sets. */
async function open(
  t: TestContext,
  root: string,
  time = '2026-11-24T10:00:00.000Z',
  log: Log = silentLog,
): Promise<Archive> {
  const made = await Archive.open(root, log, () => new Date(time));
  t.after(() => made.close());
  return made;
}

function oneBatch(n = 1): Batch {
  return new FakeNode().next('logins', 'log', [plainEvent(n)]);
}

test('archive: bytes are kept as the node wrote them, under the day on which they arrived', async (t) => {
  const root = temporary(t);
  const batch = oneBatch();
  await (await open(t, root, '2026-12-31T23:59:59.999Z')).keep([batch]);
  assert.match(segments(root).join(), /^2026\/12\/31\/segment\.[0-9a-f-]{36}\.\d{10}\.jsonl\.zst$/);
  assert.deepEqual(kept(root)[0]!.bytes, batch.bytes);
});

test('archive: a day that is over never changes, whatever comes later', async (t) => {
  const root = temporary(t);
  const [old, young] = [oneBatch(1), oneBatch(2)];
  await (await open(t, root, '2026-11-24T23:59:00.000Z')).keep([old!]);
  const before = readFileSync(join(root, segments(root)[0]!));
  await (await open(t, root, '2026-11-25T00:00:00.000Z')).keep([old!, young!]);
  const [first, second, ...more] = segments(root);
  assert.deepEqual([first!.slice(0, 10), second!.slice(0, 10), more], ['2026/11/24', '2026/11/25', []]);
  assert.deepEqual(readFileSync(join(root, first!)), before);
});

test('archive: the same batch twice in one group is kept once', async (t) => {
  const root = temporary(t);
  const batch = oneBatch();
  await (await open(t, root)).keep([batch, batch]);
  assert.equal(kept(root).length, 1);
});

test('archive: both sides of a fork are kept, and it is told', async (t) => {
  const root = temporary(t);
  const told: string[] = [];
  const log = { ...silentLog, warn: (_fields: object, message: string) => told.push(message) };
  const archived = await open(t, root, undefined, log);
  const [one, other] = [oneBatch(1), oneBatch(2)];
  await archived.keep([one!]);
  await archived.keep([other!]);
  await archived.keep([one!, other!]);
  assert.deepEqual(
    kept(root)
      .map(({ trailer }) => trailer.sha256)
      .sort(),
    [one!.trailer.sha256, other!.trailer.sha256].sort(),
  );
  assert.equal(told.filter((message) => message.startsWith('fork')).length, 1);
});

test('archive: a crash between segment and index does not keep a batch twice', async (t) => {
  const root = temporary(t);
  const index = join(root, 'index.db');
  const first = await open(t, root);
  await first.keep([oneBatch(1)]);
  first.close();
  const saved = join(temporary(t), 'index.db');
  cpSync(index, saved);
  const second = await open(t, root);
  const batch = oneBatch(2);
  await second.keep([batch]);
  second.close();
  for (const name of globSync('index.db*', { cwd: root })) rmSync(join(root, name));
  cpSync(saved, index);
  await (await open(t, root)).keep([batch]);
  assert.equal(kept(root).length, 2);
});

test('archive: P3: a segment whose writing failed half-way, and that is tried again, keeps its batches once', async (t) => {
  const root = temporary(t);
  const archive = await open(t, root);
  const batch = oneBatch(1);
  const failing = t.mock.method(realDisk, 'sync', async () => {
    throw Object.assign(new Error('EIO: i/o error, fsync'), { code: 'EIO' });
  });
  await assert.rejects(archive.keep([batch]), /EIO/);
  await assert.rejects(archive.keep([batch]), /EIO/);
  failing.mock.restore();
  await archive.keep([batch]);
  assert.deepEqual([kept(root).length, globSync('**/*.jsonl.zst', { cwd: root }).length], [1, 1]);
});

test('archive: the index can be deleted, a damaged segment among others', async (t) => {
  const root = temporary(t);
  const batches = [oneBatch(1), oneBatch(2)];
  const first = await open(t, root, '2026-11-01T00:00:00.000Z');
  await first.keep([batches[0]!]);
  await first.keep([batches[1]!]);
  first.close();
  writeFileSync(join(root, segments(root)[1]!), 'not zstd');
  for (const name of globSync('index.db*', { cwd: root })) rmSync(join(root, name));
  const told: object[] = [];
  const log = { ...silentLog, error: (fields: object) => told.push(fields) };
  const again = await open(t, root, '2026-11-02T00:00:00.000Z', log);
  assert.equal(told.length, 1);
  await again.keep(batches);
  assert.deepEqual(
    segments(root).map((name) => name.slice(0, 10)),
    ['2026/11/01', '2026/11/01', '2026/11/02'],
  );
});

test('archive: a damaged index is told with what to do', async (t) => {
  const root = temporary(t);
  writeFileSync(
    join(root, 'index.db'),
    'this is no database, and it is long enough to be looked at as one'.repeat(20),
  );
  await assert.rejects(open(t, root), { name: 'DsacError', hint: /delete it: it is made again/ });
});

test('archive: several in one configuration do not share what they hold', async (t) => {
  const counter = new Counter(t);
  const parcels = await counter.files(oneBatch());
  for (const path of ['one', 'two']) await (await counter.open(archive, { path })).deliver(parcels);
  for (const path of ['one', 'two']) assert.equal(kept(join(counter.paths.home, path)).length, 1);
});

test('P4: an archive on a disk that is full is down, wherever the room ends, and no batch is blamed', async (t) => {
  const disk = smallDisk(t, 'size=8m');
  if (disk === undefined) return;
  const counter = new Counter(t);
  const node = new FakeNode();
  const batches = Array.from({ length: 400 }, (_, n) => node.next('logins', 'log', [plainEvent(n)]));
  const parcels = await counter.files(...batches);
  let down = 0;
  for (let left = 16 * 1024; left < 512 * 1024; left += 16 * 1024) {
    const root = join(disk, String(left));
    const session = await counter.open(archive, { path: root });
    const makeRoom = fill(disk, 'bytes', left);
    try {
      await session.deliver(parcels);
    } catch (error) {
      down++;
      assert.equal((error as Error).name, 'DestinationDown', `${left} bytes left: ${error}`);
      assert.match((error as Error).message, /ENOSPC|is full/, `${left} bytes left`);
    }
    makeRoom();
    await session.deliver(parcels);
    assert.equal(kept(root).length, batches.length, `${left} bytes left`);
    await session.close();
    rmSync(root, { recursive: true });
  }
  assert.ok(down > 2, `it was down ${down} times`);
});
