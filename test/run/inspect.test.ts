import assert from 'node:assert/strict';
import { unlinkSync } from 'node:fs';
import { test } from 'node:test';
import { faults, findFiles, inspect } from '../../src/run/inspect.ts';
import { salvage } from '../../src/run/salvage.ts';
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
