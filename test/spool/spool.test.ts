import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type Disk, realDisk } from '../../src/spool/disk.ts';
import { batchFile } from '../../src/spool/names.ts';
import { type Interest, Spool, type SpoolFile } from '../../src/spool/spool.ts';
import { FakeNode, plainEvent } from '../helpers/batches.ts';
import { temporary } from '../helpers/tree.ts';

async function makeSpool(t: TestContext): Promise<Spool> {
  const spool = new Spool(temporary(t), { by: 'test' });
  await spool.create();
  return spool;
}

function ls(spool: Spool, directory: string): string[] {
  const path = join(spool.root, directory);
  return existsSync(path) ? readdirSync(path).sort() : [];
}

async function firstIn(spool: Spool, state: SpoolFile['state'], handler?: string): Promise<SpoolFile> {
  for await (const file of spool.files(state, handler)) return file;
  throw new Error(`nothing in ${state}`);
}

const all: Interest = { handler: 'all', wants: () => true };
const logins: Interest = { handler: 'only-logins', wants: (agent) => agent === 'logins' };

test('a routed batch is one file with a name in each interested queue, and in no other', async (t) => {
  const spool = await makeSpool(t);
  const node = new FakeNode();
  for (const agent of ['logins', 'packages']) {
    const batch = node.next(agent, 'log', [plainEvent()]);
    await spool.enter(batchFile(batch.header), batch.bytes);
  }
  assert.deepEqual(await spool.route([all, logins]), { routed: 2, unwanted: 0, corrupt: 0, unreadable: 0 });
  assert.equal(ls(spool, 'queue/all').length, 2);
  assert.equal(ls(spool, 'queue/only-logins').length, 1);
  assert.deepEqual(ls(spool, 'new'), []);
  const name = ls(spool, 'queue/only-logins')[0]!;
  assert.equal(
    statSync(join(spool.root, 'queue/all', name)).ino,
    statSync(join(spool.root, 'queue/only-logins', name)).ino,
  );
});

test('routing again after a crash between link and unlink loses and doubles nothing', async (t) => {
  const spool = await makeSpool(t);
  const batch = new FakeNode().next('logins', 'log', [plainEvent()]);
  const name = batchFile(batch.header);
  await spool.enter(name, batch.bytes);
  await spool.disk.mkdir(spool.directory('queue', 'all'));
  await spool.disk.link(join(spool.root, 'new', name), join(spool.root, 'queue/all', name));
  await spool.route([all, logins]);
  assert.deepEqual(
    [ls(spool, 'queue/all'), ls(spool, 'queue/only-logins'), ls(spool, 'new')],
    [[name], [name], []],
  );
});

test('a batch that no handler wants stays in new', async (t) => {
  const spool = await makeSpool(t);
  const batch = new FakeNode().next('packages', 'log', [plainEvent()]);
  await spool.enter(batchFile(batch.header), batch.bytes);
  assert.equal((await spool.route([logins])).unwanted, 1);
  assert.equal(ls(spool, 'new').length, 1);
});

test('of a segment, too, the batches that no handler wants stay in new', async (t) => {
  const spool = await makeSpool(t);
  const node = new FakeNode();
  const [login, first, second] = [
    node.next('logins', 'log', [plainEvent()]),
    node.next('packages', 'log', [plainEvent(1)]),
    node.next('packages', 'log', [plainEvent(2)]),
  ];
  await spool.enter('segment.x.0000000001.jsonl', Buffer.concat([first!.bytes, login!.bytes, second!.bytes]));
  await spool.route([logins]);
  await spool.route([logins]);
  assert.deepEqual(ls(spool, 'queue/only-logins'), ['segment.x.0000000001.jsonl']);
  const [name, ...more] = ls(spool, 'new');
  assert.deepEqual(more, []);
  assert.deepEqual(
    readFileSync(join(spool.root, 'new', name!)),
    Buffer.concat([first!.bytes, second!.bytes]),
  );
});

test('P4: a directory, pipe, socket or link that has a batch’s name is left alone, and the batch goes beside it', async (t) => {
  const spool = await makeSpool(t);
  const batch = new FakeNode().next('logins', 'log', [plainEvent()]);
  const name = batchFile(batch.header);
  const beside = (of: string, n: number): string => of.replace('.jsonl', `~${n}.jsonl`);
  mkdirSync(join(spool.root, 'new', name));
  execFileSync('mkfifo', [join(spool.root, 'new', beside(name, 2))]);
  await spool.enter(name, batch.bytes);
  const third = beside(name, 3);
  assert.deepEqual(readFileSync(join(spool.root, 'new', third)), batch.bytes);

  const queue = spool.directory('queue', 'all');
  mkdirSync(join(queue, third), { recursive: true });
  execFileSync('mkfifo', [join(queue, beside(third, 2))]);
  symlinkSync('/dev/zero', join(queue, beside(third, 3)));
  symlinkSync(beside(third, 4), join(queue, beside(third, 4)));
  assert.deepEqual(await spool.route([all]), { routed: 1, unwanted: 0, corrupt: 0, unreadable: 0 });
  assert.deepEqual(readFileSync(join(queue, beside(third, 5))), batch.bytes);
});

test('a damaged segment goes to corrupt with its reason, and the whole batches in it go on', async (t) => {
  const spool = await makeSpool(t);
  const node = new FakeNode();
  const [first, second, third] = [1, 2, 3].map((n) => node.next('logins', 'log', [plainEvent(n)]).bytes);
  const spoiled = Buffer.from(second!);
  spoiled[spoiled.length - 20]! ^= 1;
  await spool.enter('segment.x.0000000001.jsonl', Buffer.concat([first!, spoiled, third!]));
  await spool.route([all]);
  await spool.route([all]);
  assert.equal(
    readFileSync((await firstIn(spool, 'queue', 'all')).path).compare(Buffer.concat([first!, third!])),
    0,
  );
  assert.deepEqual(ls(spool, 'corrupt'), [
    'segment.x.0000000001.jsonl',
    'segment.x.0000000001.jsonl.why.json',
  ]);
  const why = JSON.parse(
    readFileSync(join(spool.root, 'corrupt/segment.x.0000000001.jsonl.why.json'), 'utf8'),
  );
  assert.match(why.reason, new RegExp(`^at byte ${first!.length}: `));
  assert.equal(why.from, 'new');
});

test('a file that is set aside never overwrites another of its name', async (t) => {
  const spool = await makeSpool(t);
  for (const text of ['one', 'two']) {
    writeFileSync(join(spool.root, 'new/a.jsonl'), text);
    await spool.route([all]);
  }
  assert.deepEqual(
    ls(spool, 'corrupt').filter((name) => !name.endsWith('.why.json')),
    ['a.jsonl', 'a~2.jsonl'],
  );
});

test('hold takes a file out of the flow until release, failed until requeue', async (t) => {
  const spool = await makeSpool(t);
  const batch = new FakeNode().next('logins', 'log', [plainEvent()]);
  await spool.enter(batchFile(batch.header), batch.bytes);
  await spool.hold(await firstIn(spool, 'new'), 'ask Eve');
  assert.deepEqual(await spool.route([all]), { routed: 0, unwanted: 0, corrupt: 0, unreadable: 0 });
  await assert.rejects(spool.requeue(await firstIn(spool, 'hold')), /lies in 'hold'/);
  await spool.release(await firstIn(spool, 'hold'));
  await spool.route([all]);
  await spool.fail(await firstIn(spool, 'queue', 'all'), 'all', { reason: 'refused', attempts: 3 });
  assert.deepEqual(ls(spool, 'queue/all'), []);
  await spool.requeue(await firstIn(spool, 'failed', 'all'));
  assert.equal(ls(spool, 'queue/all').length, 1);
  assert.deepEqual([ls(spool, 'failed/all'), ls(spool, 'hold')], [[], []]);
});

test('adopting a file twice is adopting it once; a fork under the same name is kept beside it', async (t) => {
  const [from, to] = [await makeSpool(t), await makeSpool(t)];
  const batch = new FakeNode().next('logins', 'log', [plainEvent(1)]);
  const fork = new FakeNode().next('logins', 'log', [plainEvent(2)]);
  const name = batchFile(batch.header);
  await from.enter(name, batch.bytes);
  const path = join(from.root, 'new', name);
  await to.adopt(path);
  await to.adopt(path);
  assert.deepEqual(ls(to, 'new'), [name]);
  const other = await makeSpool(t);
  await other.enter(name, fork.bytes);
  await to.adopt(join(other.root, 'new', name));
  assert.equal(ls(to, 'new').length, 2);
});

test('P3: another batch under the name of one that still waits is kept beside it, wherever they meet', async (t) => {
  const spool = await makeSpool(t);
  const [one, two, three, four] = [1, 2, 3, 4].map((n) =>
    new FakeNode().next('logins', 'log', [plainEvent(n)]),
  );
  const name = batchFile(one!.header);
  const other = name.replace('.jsonl', '~2.jsonl');
  await spool.enter(name, one!.bytes);
  await spool.enter(name, two!.bytes);
  await spool.enter(name, two!.bytes);
  assert.deepEqual(ls(spool, 'new'), [name, other]);
  await spool.route([all]);
  await spool.enter(name, three!.bytes);
  await spool.route([all]);
  const third = name.replace('.jsonl', '~3.jsonl');
  assert.deepEqual(ls(spool, 'queue/all'), [name, other, third]);

  const failed = await firstIn(spool, 'queue', 'all');
  await spool.fail(failed, 'all', { reason: 'no' });
  await spool.enter(failed.name, four!.bytes);
  await spool.route([all]);
  await spool.requeue(await firstIn(spool, 'failed', 'all'));
  const kept = ls(spool, 'queue/all').map((file) =>
    readFileSync(join(spool.root, 'queue/all', file), 'utf8'),
  );
  assert.deepEqual(kept.sort(), [one, two, three, four].map((batch) => batch!.bytes.toString()).sort());
});

test('a file that went both ways in a crash is one file again when it is handed back', async (t) => {
  const spool = await makeSpool(t);
  const batch = new FakeNode().next('logins', 'log', [plainEvent()]);
  const name = batchFile(batch.header);
  await spool.enter(name, batch.bytes);
  await spool.route([all]);
  await spool.fail(await firstIn(spool, 'queue', 'all'), 'all', { reason: 'no' });
  await spool.disk.link(join(spool.root, 'failed/all', name), join(spool.root, 'queue/all', name));
  await spool.requeue(await firstIn(spool, 'failed', 'all'));
  assert.deepEqual([ls(spool, 'queue/all'), ls(spool, 'failed/all')], [[name], []]);
});

test('P4: one file that cannot be read, or is over all bounds, does not keep the others from being routed', async (t) => {
  const root = temporary(t);
  const broken: Disk = {
    ...realDisk,
    async read(path) {
      if (path.includes('.0000000002.')) throw Object.assign(new Error('i/o error'), { code: 'EIO' });
      return realDisk.read(path);
    },
  };
  const spool = new Spool(root, { by: 'test', disk: broken });
  await spool.create();
  const node = new FakeNode();
  for (const n of [1, 2, 3]) {
    const batch = node.next('logins', 'log', [plainEvent(n)]);
    await spool.stage(batchFile(batch.header), batch.bytes);
    await realDisk.rename(
      join(root, 'tmp', batchFile(batch.header)),
      join(root, 'new', batchFile(batch.header)),
    );
  }
  writeFileSync(join(root, 'new/huge.jsonl'), '');
  truncateSync(join(root, 'new/huge.jsonl'), 3 * 1024 ** 3);
  writeFileSync(Buffer.concat([Buffer.from(`${root}/new/odd`), Buffer.of(0xff)]), '');
  assert.deepEqual(await spool.route([all]), { routed: 2, unwanted: 0, corrupt: 1, unreadable: 1 });
  assert.deepEqual(await spool.route([all]), { routed: 0, unwanted: 0, corrupt: 0, unreadable: 0 });
  assert.equal(ls(spool, 'queue/all').length, 2);
  assert.match(readFileSync(join(root, 'hold', ls(spool, 'hold')[1]!), 'utf8'), /cannot be read: i\/o error/);
  assert.match(readFileSync(join(root, 'corrupt/huge.jsonl.why.json'), 'utf8'), /3221225472 bytes, over/);
});
