import assert from 'node:assert/strict';
import { readdirSync, readFileSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { faults, findFiles, inspect } from '../../src/run/inspect.ts';
import { salvage } from '../../src/run/salvage.ts';
import { type Disk, realDisk } from '../../src/spool/disk.ts';
import { batchFile } from '../../src/spool/names.ts';
import { Spool } from '../../src/spool/spool.ts';
import { FakeNode, plainEvent } from '../helpers/batches.ts';
import { temporary } from '../helpers/tree.ts';

test('P8: a file that is delivered while a spool is looked through is passed over', async (t) => {
  const spool = new Spool(temporary(t));
  await spool.create();
  const { header, bytes } = new FakeNode().next('logins', 'log', [plainEvent()]);
  await spool.enter(batchFile(header), bytes);
  const [file] = await findFiles(spool, []);
  assert.equal((await inspect(spool, file!))?.events, 1);
  assert.deepEqual(await faults(spool, file!), []);
  unlinkSync(file!.path);
  assert.equal(await inspect(spool, file!), undefined);
  assert.equal(await faults(spool, file!), undefined);
  assert.equal((await salvage(spool, file!, {} as never)).name, undefined);
});

test('P3: two halves of a fork that two commands release at once are both there', async (t) => {
  const root = temporary(t);
  const other = new Spool(root);
  await other.create();
  const name = 'logins.n.e.0000000001.jsonl';
  await other.keepBytes('hold', name, Buffer.from('one'), 'held');
  await other.keepBytes('corrupt', name, Buffer.from('two'), 'forged');
  const releaseOther = async (): Promise<void> => {
    for await (const file of other.files('corrupt')) await other.release(file);
  };
  const disk: Disk = {
    ...realDisk,
    async rename(from, to) {
      await releaseOther();
      await realDisk.rename(from, to);
    },
    async link(from, to) {
      await releaseOther();
      await realDisk.link(from, to);
    },
  };
  const spool = new Spool(root, { disk });
  for await (const file of spool.files('hold')) await spool.release(file);
  const texts = readdirSync(join(root, 'new')).map((one) => readFileSync(join(root, 'new', one), 'utf8'));
  assert.deepEqual(texts.sort(), ['one', 'two']);
});
