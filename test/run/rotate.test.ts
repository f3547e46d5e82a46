import assert from 'node:assert/strict';
import {
  existsSync,
  fstatSync,
  globSync,
  openSync,
  readFileSync,
  readSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathsBelow } from '../../src/config/paths.ts';
import { provenKeys } from '../../src/evidence/succession.ts';
import { loadIdentity, rotateKey } from '../../src/run/identity.ts';
import { decode } from '../../src/spool/decode.ts';
import { Home } from '../helpers/dsac.ts';

test('P6: a changed key is one file, whole and private; the old key is wiped, and the chain of up to 16 keys leads to the new one', async (t) => {
  const home = new Home(t);
  await home.run('init');
  const paths = pathsBelow(home.path);
  const file = join(paths.etc, 'node.key');
  const first = await loadIdentity(paths);
  const handle = openSync(file, 'r');
  const said = await home.run('init', '--rotate-key');
  const second = await loadIdentity(paths);
  assert.ok(said.includes(first.publicKey) && said.includes(second.publicKey), said);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  const old = Buffer.alloc(fstatSync(handle).size);
  readSync(handle, old, 0, old.length, 0);
  assert.ok(
    old.every((byte) => byte === 0),
    'the old file is wiped',
  );
  assert.deepEqual(provenKeys(first.node, second.publicKey, second.succession), [
    first.publicKey,
    second.publicKey,
  ]);
  const keys = [first.publicKey, second.publicKey];
  for (let n = 0; n < 16; n++) keys.push((await rotateKey(paths)).key);
  const last = await loadIdentity(paths);
  assert.deepEqual(provenKeys(last.node, last.publicKey, last.succession), keys.slice(-17));
  assert.deepEqual(provenKeys('another node', last.publicKey, last.succession), [last.publicKey]);
});

test('P6: a node goes on under its new key, and the centre takes what was spooled under either', async (t) => {
  const home = new Home(t);
  const paths = pathsBelow(home.path);
  await home.run('init');
  await home.run('agent', 'users');
  await home.run('init', '--rotate-key');
  await home.run('agent', 'users');
  const keys = globSync('var/spool/dsac/out/new/receipts.*', { cwd: home.path })
    .sort()
    .map((name) => [...decode(readFileSync(join(home.path, name)))][0]!.batch!.header.key);
  assert.equal(new Set(keys).size, 2);
  await home.run('dispatch');
  await home.run('process');
  const known = readFileSync(join(home.path, 'var/lib/dsac/trust/known_nodes'), 'utf8').trimEnd().split('\n');
  assert.deepEqual(
    known.slice(1).map((line) => line.split(' ').slice(2, 4)),
    [
      [keys[0], 'contact'],
      [keys[1], 'rotated'],
    ],
  );
  const listed = async () => {
    const [{ key, key_how }] = JSON.parse(await home.run('node', 'ls', '--format', 'json'));
    return [key, key_how];
  };
  assert.deepEqual(await listed(), [keys[1], 'rotated'], 'node ls shows the key that it is known by now');
  const { node } = await loadIdentity(paths);
  await home.run('node', 'trust', node, keys[1]!);
  assert.deepEqual(await listed(), [keys[1], 'pinned']);
  await home.run('node', 'trust', '--revoke', node, keys[1]!);
  await home.run('node', 'trust', '--revoke', node, keys[0]!);
  assert.deepEqual(await listed(), [keys[0], 'revoked']);
});

test('P6: a forged batch is told by dsac process in one line and exit 65, and passes when a person trusts its key', async (t) => {
  const home = new Home(t);
  await home.run('init');
  await home.run('agent', 'users');
  await home.run('dispatch');
  await home.run('process');
  const other = new Home(t);
  await other.run('init');
  writeFileSync(join(other.path, 'etc/dsac/node.id'), readFileSync(join(home.path, 'etc/dsac/node.id')));
  await other.run('agent', 'logins', '--rootfs', other.path);
  const [name] = globSync('receipts.*', { cwd: join(other.path, 'var/spool/dsac/out/new') });
  writeFileSync(
    join(home.path, 'var/spool/dsac/in/new', name!),
    readFileSync(join(other.path, 'var/spool/dsac/out/new', name!)),
  );
  const { code, stderr } = await home.try('process');
  assert.equal(code, 65);
  assert.equal(
    stderr,
    'dsac-process: 1 batch(es) not signed by the node that they name set aside: see dsac spool ls corrupt --stack in\n',
  );
  const { code: again, stderr: silence } = await home.try('process');
  assert.deepEqual([again, silence], [0, '']);
  const listed = await home.run('spool', 'ls', 'corrupt', '--stack', 'in');
  const [, node, key] = /dsac node trust (\S+) (\S+);/.exec(listed)!;
  const trusted = await home.run('node', 'trust', node!, key!);
  const [, where] = /^waits: dsac spool release '(.+)' --stack in$/m.exec(trusted)!;
  await home.run('spool', 'release', where!, '--stack', 'in');
  await home.run('process');
  assert.equal((await home.try('node', 'trust', node!, 'short')).code, 64);
});

test('P6: with trust pinned, a node that was added with its key is taken from its first batch on', async (t) => {
  const centre = new Home(t, 'trust: pinned\n');
  await centre.run('init');
  const node = new Home(
    t,
    `dispatchers: { centre: { type: directory, path: ${join(centre.path, 'var/spool/dsac/in')} } }\n`,
  );
  await node.run('init');
  await node.run('agent', 'users');
  const [name] = globSync('users.*', { cwd: join(node.path, 'var/spool/dsac/out/new') });
  const header = readFileSync(join(node.path, 'var/spool/dsac/out/new', name!), 'utf8').split('\n')[0]!;
  const { node: id, key } = JSON.parse(header);
  await centre.run('node', 'add', id, '--host', 'new1', '--key', key);
  await node.run('dispatch');
  await centre.run('process');
  assert.match(await centre.run('report', 'completeness'), / users +complete /);
});

test('where there is no key to change, nothing is made: a mistyped home stays what it is', async (t) => {
  const home = new Home(t);
  const { code, stderr } = await home.try('init', '--rotate-key');
  assert.equal(code, 78);
  assert.match(stderr, /node\.id: it is not there\ndsac: hint: run dsac init first/);
  assert.equal(existsSync(join(home.path, 'var')), false);
});
