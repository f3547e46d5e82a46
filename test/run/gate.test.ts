import assert from 'node:assert/strict';
import { appendFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { sayOfKey } from '../../src/run/trust.ts';
import { type Batch, headOf } from '../../src/spool/batch.ts';
import { decode } from '../../src/spool/decode.ts';
import { seal } from '../../src/spool/encode.ts';
import { FakeNode, plainEvent } from '../helpers/batches.ts';
import { Centre } from '../helpers/centre.ts';

const DAY = 86_400_000;
const OTHER = '7a2c5a9e-0f5e-4d0e-8a54-3c1c7d4a9b11';

function unsigned(node: FakeNode): Batch {
  const { key: _, ...header } = node.next('users', 'log', [plainEvent()]).header;
  return [...decode(seal(header, [plainEvent()]).bytes)][0]!.batch!;
}

test('P6: the key of a first contact is remembered; another key in the name of that node is quarantined, and the rest of its segment goes on', async (t) => {
  const centre = new Centre(t);
  const [node, thief, other] = [new FakeNode(), new FakeNode(), new FakeNode(OTHER, 'web2')];
  await centre.enter(node.next('logins', 'log', [plainEvent(1)]));
  assert.equal((await centre.route()).routed, 1);
  const forged = thief.next('users', 'log', [plainEvent(2)]);
  await centre.segment(
    'x',
    node.next('logins', 'log', [plainEvent(3)]),
    forged,
    other.next('logins', 'log', []),
  );
  const done = await centre.route();
  assert.deepEqual([done.forged, done.corrupt, done.strange], [1, 0, undefined]);
  assert.deepEqual(await centre.in('queue/all'), ['logins 1', 'logins 1', 'logins 2']);
  assert.deepEqual(await centre.in('corrupt'), ['users 1']);
  const [reason] = centre.reasons('corrupt');
  assert.ok(reason!.includes(node.publicKey) && reason!.includes(thief.publicKey), reason);
  assert.match(reason!, new RegExp(`if the node was given a new key: dsac node trust ${node.node} `));
  assert.deepEqual(centre.known(), [
    `${node.node} ${node.publicKey} contact # web1`,
    `${OTHER} ${other.publicKey} contact # web2`,
  ]);
});

test('P6: a node that was given another key by hand is trusted once a person says so, and what was set aside can be released', async (t) => {
  const centre = new Centre(t);
  const [before, after] = [new FakeNode(), new FakeNode()];
  await centre.enter(before.next('logins', 'log', [plainEvent(1)]));
  await centre.route();
  await centre.enter(after.next('users', 'log', [plainEvent(2)]));
  assert.equal((await centre.route()).forged, 1);
  await sayOfKey(centre.paths, { node: after.node, key: after.publicKey, how: 'pinned' }, centre.now);
  await centre.release();
  assert.deepEqual([(await centre.route()).routed, await centre.in('corrupt')], [1, []]);
});

test('P6: with trust pinned an unknown node waits in hold until its key is trusted, and unsigned batches never pass', async (t) => {
  const centre = new Centre(t);
  const [node, other] = [new FakeNode(), new FakeNode(OTHER, 'web2')];
  await sayOfKey(centre.paths, { node: node.node, key: node.publicKey, how: 'pinned' }, centre.now);
  await centre.segment(
    'x',
    node.next('logins', 'log', []),
    other.next('packages', 'log', []),
    unsigned(other),
  );
  await centre.enter(unsigned(node));
  const done = await centre.route('pinned');
  assert.deepEqual([done.strange, done.forged], [2, 1]);
  assert.deepEqual(await centre.in('queue/all'), ['logins 1']);
  assert.deepEqual(
    [await centre.in('hold'), await centre.in('corrupt')],
    [['packages 1', 'users 1'], ['users 1']],
  );
  await sayOfKey(centre.paths, { node: OTHER, key: other.publicKey, how: 'pinned' }, centre.now);
  await centre.release();
  await centre.route('pinned');
  assert.deepEqual(await centre.in('queue/all'), ['logins 1', 'packages 1']);
  assert.deepEqual(await centre.in('corrupt'), ['users 1', 'users 1']);
});

test('P6: at first contact an unsigned batch is quarantined', async (t) => {
  const centre = new Centre(t);
  await centre.enter(unsigned(new FakeNode()));
  assert.deepEqual([(await centre.route()).forged, await centre.in('corrupt')], [1, ['users 1']]);
  assert.match(centre.reasons('corrupt')[0]!, /^not signed, and of a node that is not known/);
});

test('P6: a new key that the old one signed for is trusted, whatever order batches come in; the old one passes for 7 days', async (t) => {
  const centre = new Centre(t);
  const node = new FakeNode();
  const keys = [node.publicKey];
  const batches = [node.next('logins', 'log', [plainEvent(1)]), node.next('logins', 'log', [plainEvent(2)])];
  node.rotate();
  keys.push(node.publicKey);
  batches.push(node.next('logins', 'log', [plainEvent(3)]));
  node.rotate();
  keys.push(node.publicKey);
  batches.push(node.next('logins', 'log', [plainEvent(4)]));
  for (const n of [0, 3, 2, 1]) {
    await centre.enter(batches[n]!);
    assert.equal((await centre.route()).routed, 1, `batch ${n + 1}`);
  }
  assert.deepEqual(
    centre.known().map((line) => line.split(' ').slice(1, 3)),
    [
      [keys[0], 'contact'],
      [keys[1], 'rotated'],
      [keys[2], 'rotated'],
    ],
  );
  const old = new FakeNode();
  [old.key, old.publicKey] = [node.key, node.publicKey];
  node.rotate();
  await centre.enter(node.next('logins', 'log', [plainEvent(5)]));
  await centre.route();
  centre.now = new Date(centre.now.getTime() + 7 * DAY);
  await centre.enter(old.next('users', 'log', [plainEvent(6)]));
  assert.equal((await centre.route()).routed, 1);
  centre.now = new Date(centre.now.getTime() + 1);
  await centre.enter(old.next('users', 'log', [plainEvent(7)]));
  assert.equal((await centre.route()).forged, 1);
  assert.match(centre.reasons('corrupt')[0]!, /gave up by 2026-11-25T/);
});

test('P6: a chain that a retired or revoked key signs, or that does not verify, makes no key trusted', async (t) => {
  const centre = new Centre(t);
  const node = new FakeNode();
  await centre.enter(node.next('logins', 'log', [plainEvent(1)]));
  await centre.route();
  const thief = new FakeNode();
  [thief.key, thief.publicKey] = [node.key, node.publicKey];
  node.rotate();
  await centre.enter(node.next('logins', 'log', [plainEvent(2)]));
  await centre.route();
  thief.rotate();
  await centre.enter(thief.next('users', 'log', [plainEvent(3)]));
  assert.equal((await centre.route()).forged, 1, 'from a retired key');

  const stranger = new FakeNode();
  stranger.succession = [{ key: node.publicKey, sig: thief.succession[0]!.sig }];
  await centre.enter(stranger.next('packages', 'log', [plainEvent(4)]));
  assert.equal((await centre.route()).forged, 1, 'a signature over something else');

  await sayOfKey(centre.paths, { node: node.node, key: node.publicKey, how: 'revoked' }, centre.now);
  await centre.enter(node.next('services', 'log', [plainEvent(5)]));
  assert.equal((await centre.route()).forged, 1, 'a revoked key');
});

test('P6: a revoked key makes no other key trusted, though the key before it had signed for it', async (t) => {
  const centre = new Centre(t);
  const node = new FakeNode();
  await centre.enter(node.next('logins', 'log', [plainEvent(1)]));
  await centre.route();
  node.rotate();
  await centre.enter(node.next('logins', 'log', [plainEvent(2)]));
  await centre.route();
  const stolen = node.publicKey;
  await sayOfKey(centre.paths, { node: node.node, key: stolen, how: 'revoked' }, centre.now);
  const thief = new FakeNode();
  [thief.key, thief.publicKey, thief.succession] = [node.key, stolen, node.succession];
  thief.rotate();
  await centre.enter(thief.next('users', 'log', [plainEvent(3)]));
  assert.equal((await centre.route()).forged, 1);
  assert.match(centre.reasons('corrupt')[0]!, new RegExp(`which is revoked for node ${node.node}`));
  assert.equal(centre.known().at(-1), `${node.node} ${stolen} revoked`);
  await sayOfKey(centre.paths, { node: node.node, key: thief.publicKey, how: 'pinned' }, centre.now);
  await centre.release();
  assert.equal((await centre.route()).routed, 1, 'once a person says that the key is the node’s');
});

test('P6: a key that a person pins or revokes while batches are being routed is not overruled by one that is learned', async (t) => {
  const centre = new Centre(t);
  const [node, thief] = [new FakeNode(), new FakeNode()];
  await centre.enter(new FakeNode(OTHER, 'web2').next('logins', 'log', [plainEvent(1)]));
  await centre.route();
  const gate = centre.gate();
  const forged = thief.next('users', 'log', [plainEvent(2)]);
  assert.equal(await gate.objection(forged), undefined, 'the first contact');
  await sayOfKey(centre.paths, { node: node.node, key: node.publicKey, how: 'pinned' }, centre.now);
  await assert.rejects(gate.admit([headOf(forged)]), /known_nodes: it was changed while batches/);
  assert.match(centre.known().at(-1)!, / pinned$/);
  assert.equal(centre.heads().length, 1, 'nothing was countersigned');
  await centre.enter(forged);
  assert.equal((await centre.route()).forged, 1);
});

test('P6: batches are countersigned before any handler has them, in a chain that goes on across months and crashes', async (t) => {
  const centre = new Centre(t);
  const node = new FakeNode();
  const batches = [1, 2, 3, 4].map((n) => node.next('logins', 'log', [plainEvent(n)]));
  await centre.enter(batches[0]!, batches[1]!);
  await centre.route();
  centre.now = new Date('2026-12-01T00:00:00.000Z');
  await centre.enter(batches[2]!);
  await centre.route();
  const folder = join(centre.paths.lib, 'heads');
  assert.deepEqual(readdirSync(folder), ['2026-11.jsonl', '2026-12.jsonl']);
  appendFileSync(join(folder, '2026-12.jsonl'), '{"n":3,"time":"2026-12-01T00:0');
  centre.now = new Date('2026-11-30T00:00:00.000Z');
  await centre.enter(batches[3]!);
  await centre.route();
  const records = centre.heads();
  assert.deepEqual(
    records.map(({ n, heads }) => [n, heads.map(([, , , seq]) => seq).sort()]),
    [
      [1, [1, 2]],
      [2, [3]],
      [3, [4]],
    ],
  );
  assert.deepEqual(
    records.flatMap(({ heads }) => heads.map(([, , , , sha256]) => sha256)).sort(),
    batches.map(({ trailer }) => trailer.sha256).sort(),
  );
});

test('P6: a crash between countersigning and the queues is made good by the next run', async (t) => {
  const centre = new Centre(t);
  await centre.enter(new FakeNode().next('logins', 'log', [plainEvent()]));
  const crash = t.mock.method(centre.spool.disk, 'link', async () => {
    assert.equal(centre.heads().length, 1, 'countersigned before it is in a queue');
    throw new Error('power cut');
  });
  await assert.rejects(centre.route(), /power cut/);
  crash.mock.restore();
  await centre.route();
  assert.deepEqual(await centre.in('queue/all'), ['logins 1']);
  assert.deepEqual(
    centre.heads().map(({ n, heads }) => [n, heads.length]),
    [
      [1, 1],
      [2, 1],
    ],
  );
});

test('P6: where a head cannot be countersigned, nothing goes on', async (t) => {
  const centre = new Centre(t);
  await centre.enter(new FakeNode().next('logins', 'log', [plainEvent()]));
  mkdirSync(join(centre.paths.lib), { recursive: true });
  writeFileSync(join(centre.paths.lib, 'heads'), 'a file where the folder should be');
  await assert.rejects(centre.route());
  assert.deepEqual([await centre.in('new'), await centre.in('queue/all')], [['logins 1'], []]);
});

test('a mistake in known_nodes is told with file and line; a torn last line is cut by the next key', async (t) => {
  const centre = new Centre(t);
  const file = join(centre.paths.lib, 'trust/known_nodes');
  mkdirSync(join(file, '..'), { recursive: true });
  writeFileSync(file, '# mine\n2026-11-25T10:00:00.000Z 6f1c5a9');
  const node = new FakeNode();
  await centre.enter(node.next('logins', 'log', [plainEvent(1)]));
  await centre.route();
  assert.match(
    readFileSync(file, 'utf8'),
    /^# mine\n2026-11-25T10:00:00.000Z [0-9a-f-]{36} \S{44} contact # web1\n$/,
  );
  appendFileSync(file, 'nonsense\n');
  await centre.enter(node.next('logins', 'log', [plainEvent(2)]));
  await assert.rejects(centre.route(), {
    kind: 'config',
    message: /known_nodes:3: expected time, node, key and how/,
  });
});
