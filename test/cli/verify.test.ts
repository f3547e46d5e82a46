import assert from 'node:assert/strict';
import { cpSync, globSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { dsac, Home } from '../helpers/dsac.ts';
import { temporary } from '../helpers/tree.ts';

test('P6: dsac verify proves a home in one line, names what was changed in it with exit 65, and works on a copy', async (t) => {
  const home = new Home(t);
  await home.run('init');
  await home.run('agent', 'users', 'packages');
  await home.run('dispatch');
  await home.run('process');
  assert.match(
    await home.run('verify'),
    /^verified 3 batches of 1 nodes, \d{4}-\d\d-\d\d … \d{4}-\d\d-\d\d: all whole\ncountersigned: record 1, sha256 [0-9a-f]{64}, key \S{44}\n$/,
  );

  const copy = temporary(t);
  cpSync(join(home.path, 'var/lib/dsac'), join(copy, 'var/lib/dsac'), { recursive: true });
  const [segment] = globSync('var/lib/dsac/archive/*/*/*/*.zst', { cwd: copy });
  const elsewhere = await dsac(['verify', '--home', copy]);
  assert.equal(elsewhere.code, 0, elsewhere.stderr);
  assert.match(elsewhere.stdout, /all whole\nnote: the key of this centre is not here/);

  const path = join(copy, segment!);
  const bytes = readFileSync(path);
  bytes[bytes.length - 40]! ^= 1;
  writeFileSync(path, bytes);
  const changed = await dsac(['verify', '--home', copy]);
  assert.equal(changed.code, 65);
  assert.ok(changed.stdout.startsWith(path), changed.stdout);
  assert.match(changed.stdout, /: damaged: .*\n(?:.*\n)? {2}hint: compare with a copy of the archive/);
  assert.match(changed.stderr, /^dsac: error: \d+ findings: not all is as it was\ndsac: hint: /);
  const json = JSON.parse((await dsac(['verify', '--home', copy, '--format', 'json'])).stdout);
  assert.equal(json.findings.length, json.summary.findings);
  assert.equal(json.findings[0].file, path);
  const lines = (await dsac(['verify', '--home', copy, '--format', 'ndjson'])).stdout.trimEnd().split('\n');
  assert.deepEqual(
    lines.map((line) => JSON.parse(line)),
    json.findings,
  );
});

test('dsac verify takes archives, spools and batch files, and says what it cannot check', async (t) => {
  const home = new Home(t);
  await home.run('init');
  const none = await home.try('verify');
  assert.deepEqual([none.code, none.stdout], [78, '']);
  assert.match(
    none.stderr,
    /^dsac: error: there is no archive at .*\ndsac: hint: run dsac process first, or name what/,
  );
  await home.run('agent', 'users');
  assert.match(
    await home.run('verify', join(home.path, 'var/spool/dsac/out')),
    /^verified 2 batches of 1 nodes, .*: all whole\nnote: keys were not held against any: /,
  );
  await home.run('dispatch');
  await home.run('process');
  rmSync(join(home.path, 'var/lib/dsac/store.db'));
  assert.match(await home.run('verify'), /all whole\nnote: the store was not checked: there is no /);
  assert.match(
    await home.run('verify', join(home.path, 'var/lib/dsac/archive')),
    /^verified 2 batches of 1 nodes/,
  );
  assert.equal((await home.try('verify', join(home.path, 'gone'))).code, 64);
});
