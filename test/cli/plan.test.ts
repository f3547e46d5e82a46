/** What commands remember of the configuration between runs is never older than the file. */
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Home } from '../helpers/dsac.ts';

test('a change of the configuration counts at the next run, as does a mistake in it', async (t) => {
  const home = new Home(t, '{}\n');
  const file = join(home.path, 'etc/dsac/dsac.yaml');
  await home.run('init');
  await home.run('agent', 'users');
  await home.run('agent', 'users');
  writeFileSync(file, 'host: renamed\n');
  await home.run('agent', 'users');
  assert.match(await home.run('spool', 'cat', 'receipts.*'), /"host":"renamed"/);
  writeFileSync(file, 'hots: renamed\n');
  const wrong = await home.try('agent', 'users');
  assert.equal(wrong.code, 78);
  assert.match(wrong.stderr, /dsac\.yaml:1: hots: unknown key/);
  const undelivered = await home.try('dispatch');
  assert.equal(undelivered.code, 78, 'dispatch went on with an older configuration');
  rmSync(file);
  await home.run('agent', 'users');
  await home.run('dispatch');
});
