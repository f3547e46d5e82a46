import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import directory from '../../dispatchers/directory.ts';
import { decode } from '../../src/spool/decode.ts';
import { realDisk } from '../../src/spool/disk.ts';
import { Spool } from '../../src/spool/spool.ts';
import { FakeNode, plainEvent } from '../helpers/batches.ts';
import { Counter } from '../helpers/handlers.ts';
import { temporary } from '../helpers/tree.ts';
import { handlerConformance } from '../suites/handler.ts';

function digests(spool: string): string[] {
  return readdirSync(join(spool, 'new')).flatMap((name) =>
    [...decode(readFileSync(join(spool, 'new', name)))].map(({ batch }) => batch!.trailer.sha256),
  );
}

handlerConformance(directory, {
  folder: 'dispatchers',
  destination: (_t, { paths }) => ({ options: {}, arrived: async () => digests(paths.in) }),
  down: (t) => ({ path: join(temporary(t), 'not-mounted') }),
});

test('directory: within a file system nothing is copied', async (t) => {
  const counter = new Counter(t);
  const [parcel] = await counter.files(new FakeNode().next('logins', 'log', [plainEvent()]));
  const session = await counter.open(directory, {});
  await session.deliver([parcel!]);
  const [name] = readdirSync(join(counter.paths.in, 'new'));
  assert.equal(statSync(join(counter.paths.in, 'new', name!)).ino, statSync(parcel!.path).ino);
});

test('directory: the folder of a file system that is not mounted is not taken for a spool', async (t) => {
  const counter = new Counter(t);
  const mountPoint = join(temporary(t), 'mount');
  mkdirSync(mountPoint);
  await assert.rejects(counter.open(directory, { path: mountPoint }), /no spool .*mounted\?/);
  assert.deepEqual(readdirSync(mountPoint), []);
});

test('directory: two batches under one name are both kept, from a segment too', async (t) => {
  const counter = new Counter(t);
  const target = new Spool(join(temporary(t), 'spool'));
  await target.create();
  const [one, other] = [1, 2].map((n) => new FakeNode().next('logins', 'log', [plainEvent(n)]));
  const session = await counter.open(directory, { path: target.root });
  await session.deliver(await counter.files(one!));
  await session.deliver(await counter.segment(other!));
  assert.deepEqual(digests(target.root).sort(), [one!.trailer.sha256, other!.trailer.sha256].sort());
  assert.deepEqual(readdirSync(join(target.root, 'tmp')), []);
});

test('directory: P2: a group is answered for once its names are durable, with one sync for all of them', async (t) => {
  const counter = new Counter(t);
  const node = new FakeNode();
  const batches = [1, 2, 3].map((n) => node.next('logins', 'log', [plainEvent(n)]));
  const parcels = await counter.files(...batches);
  const session = await counter.open(directory, {});
  const into = join(counter.paths.in, 'new');
  const { sync } = realDisk;
  const durable: number[] = [];
  t.mock.method(realDisk, 'sync', async (path: string) => {
    if (path === into) durable.push(readdirSync(into).length);
    return sync(path);
  });
  await session.deliver(parcels);
  assert.deepEqual(durable, [3]);
});
