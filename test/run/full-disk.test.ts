/** Dispatch and process where the disk they write to is full. */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type TestContext, test } from 'node:test';
import { zstdDecompressSync } from 'node:zlib';
import directory from '../../dispatchers/directory.ts';
import archive from '../../processors/archive.ts';
import store from '../../processors/store.ts';
import { type Paths, pathsBelow } from '../../src/config/paths.ts';
import { silentLog } from '../../src/log.ts';
import type { AnyHandler } from '../../src/plugin/handler.ts';
import { type Delivered, deliver } from '../../src/run/deliver.ts';
import type { Batch } from '../../src/spool/batch.ts';
import { decode } from '../../src/spool/decode.ts';
import { batchFile } from '../../src/spool/names.ts';
import { DEFAULT_QUOTA, type Quota } from '../../src/spool/quota.ts';
import { Spool } from '../../src/spool/spool.ts';
import { FakeNode, plainEvent } from '../helpers/batches.ts';
import { fill, smallDisk } from '../helpers/small-disk.ts';
import { temporary } from '../helpers/tree.ts';

const UNLIMITED: Quota = { bytes: {}, files: 1e9, free: { most: 0 }, freeInodes: { most: 0 } };

/** A spool with batches in `new`, and handlers of it. */
class Desk {
  readonly paths: Paths;
  readonly spool: Spool;
  readonly stack: 'out' | 'in';
  readonly batches: Batch[];
  quota = UNLIMITED;
  now = new Date('2026-11-24T10:00:00.000Z');

  constructor(home: string, stack: 'out' | 'in', count = 40) {
    this.paths = pathsBelow(home);
    this.stack = stack;
    this.spool = new Spool(this.paths[stack]);
    const node = new FakeNode();
    this.batches = Array.from({ length: count }, (_, n) => node.next('logins', 'log', [plainEvent(n)]));
  }

  async enter(batches = this.batches): Promise<void> {
    await this.spool.create();
    for (const batch of batches) await this.spool.enter(batchFile(batch.header), batch.bytes);
  }

  async run(handler: AnyHandler, options: unknown): Promise<Delivered> {
    this.now = new Date(this.now.getTime() + 7_200_000);
    const { paths, spool, stack, quota } = this;
    const post = { name: 'it', handler, options: handler.options.parse(options), agents: ['*'] };
    return deliver(
      {
        spool,
        stack,
        paths,
        quota,
        store: {},
        log: silentLog,
        clock: () => this.now,
        random: () => 1,
        signal: new AbortController().signal,
        print: () => {},
        only: undefined,
      },
      [{ ...post, deadlineMs: 30_000, attempts: 3 }],
    );
  }

  digests(): string[] {
    return this.batches.map(({ trailer }) => trailer.sha256).sort();
  }
}

function digestsIn(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.jsonl(\.zst)?$/.test(entry.name) && !entry.name.startsWith('.'))
    .flatMap(({ name, parentPath }) => {
      const bytes = readFileSync(join(parentPath, name));
      return [...decode(name.endsWith('.zst') ? zstdDecompressSync(bytes) : bytes)];
    })
    .map(({ batch }) => batch!.trailer.sha256)
    .sort();
}

for (const [what, options] of [
  ['bytes', 'size=1m'],
  ['inodes', 'size=8m,nr_inodes=80'],
] as const) {
  test(`P5: a spool that batches are handed to, on a disk without free ${what}, gets each once as soon as there is room`, async (t) => {
    const disk = smallDisk(t, options);
    if (disk === undefined) return;
    const desk = new Desk(temporary(t), 'out');
    const target = new Spool(join(disk, 'in'));
    await target.create();
    await desk.enter();
    const makeRoom = fill(disk, what, what === 'bytes' ? 40_000 : 10);
    const full = await desk.run(directory, { path: target.root });
    assert.match(full.deliveries[0]!.reason!, /ENOSPC|no room in/);
    assert.equal(full.deliveries[0]!.outcome, 'down');
    assert.equal(readdirSync(desk.spool.directory('queue', 'it')).length + full.deliveries[0]!.delivered, 40);
    makeRoom();
    assert.equal((await desk.run(directory, { path: target.root })).deliveries[0]!.outcome, 'ok');
    assert.deepEqual(digestsIn(target.directory('new')), desk.digests());
    assert.deepEqual(readdirSync(target.directory('tmp')), []);
  });

  test(`P5: archive and store on a disk without free ${what} take nothing, back off, and take each batch once as soon as there is room`, async (t) => {
    const disk = smallDisk(t, options.replace('size=1m', 'size=3m'));
    if (disk === undefined) return;
    for (const [handler, path] of [
      [archive, { path: join(disk, 'archive') }],
      [store, { url: `sqlite:${join(disk, 'store.db')}` }],
    ] as const) {
      const desk = new Desk(temporary(t), 'in');
      // What is there already was taken while there was room.
      await desk.enter(desk.batches.slice(0, 10));
      await desk.run(handler, path);
      await desk.enter(desk.batches.slice(10));
      const makeRoom = fill(disk, what, what === 'bytes' ? 4096 : 0);
      const full = await desk.run(handler, path);
      if (handler === archive || what === 'bytes')
        assert.equal(full.deliveries[0]!.outcome, 'down', full.deliveries[0]!.reason);
      assert.equal(
        readdirSync(desk.spool.directory('queue', 'it')).length + full.deliveries[0]!.delivered,
        30,
      );
      makeRoom();
      assert.equal((await desk.run(handler, path)).deliveries[0]!.outcome, 'ok');
      assert.deepEqual(readdirSync(desk.spool.directory('queue', 'it')), []);
      const kept: string[] =
        handler === archive ? digestsIn(join(disk, 'archive')) : digestsInStore(join(disk, 'store.db'));
      assert.deepEqual(kept, desk.digests());
    }
  });

  test(`P5: where the spool's own disk has no free ${what}, dispatch still delivers what is there, and so makes room`, async (t) => {
    const disk = smallDisk(t, options);
    if (disk === undefined) return;
    const desk = new Desk(disk, 'out', 30);
    const target = new Spool(temporary(t));
    await target.create();
    await desk.enter(desk.batches.slice(0, 1));
    await desk.run(directory, { path: target.root });
    await desk.enter(desk.batches.slice(1));
    fill(disk, what);
    const { deliveries, unrouted } = await desk.run(directory, { path: target.root });
    assert.deepEqual([deliveries[0]!.outcome, unrouted], ['ok', undefined], deliveries[0]!.reason);
    assert.deepEqual(digestsIn(target.directory('new')), desk.digests());
  });
}

test('P9: a spool over its quota takes no more from the spool before it', async (t: TestContext) => {
  const desk = new Desk(temporary(t), 'out', 5);
  mkdirSync(desk.paths.in, { recursive: true });
  await desk.enter();
  desk.quota = { ...DEFAULT_QUOTA, files: 3 };
  const { deliveries } = await desk.run(directory, {});
  assert.match(deliveries[0]!.reason!, /the spool .*\/in is full: it holds .* in 3 files/);
  desk.quota = DEFAULT_QUOTA;
  await desk.run(directory, {});
  assert.deepEqual(digestsIn(join(desk.paths.in, 'new')), desk.digests());
});

function digestsInStore(path: string): string[] {
  const database: DatabaseSync = new DatabaseSync(path, { readOnly: true });
  const rows = database.prepare('select sha256 from batches').all();
  database.close();
  return rows
    .map(({ sha256 }) =>
      typeof sha256 === 'string' ? sha256 : Buffer.from(sha256 as Uint8Array).toString('hex'),
    )
    .sort();
}
