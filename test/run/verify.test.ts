import assert from 'node:assert/strict';
import {
  appendFileSync,
  cpSync,
  existsSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { loadIdentity } from '../../src/run/identity.ts';
import { sayOfKey } from '../../src/run/trust.ts';
import type { Batch } from '../../src/spool/batch.ts';
import { FakeNode, plainEvent } from '../helpers/batches.ts';
import { batchesIn, Evidence, filled, OTHER } from '../helpers/evidence.ts';
import { scale } from '../helpers/torture.ts';

const bytesOf = ({ bytes }: Batch): Buffer => bytes;

test('P6: an archive that is whole is said to be, with how much it is and where the log of heads ends', async (t) => {
  const evidence = await filled(t);
  const { all } = await evidence.verify();
  assert.deepEqual([all.batches, all.nodes, all.files, all.findings, all.notes], [5, 2, 2, 0, []]);
  assert.deepEqual(
    [all.heads?.n, all.heads?.key],
    [2, (await loadIdentity(evidence.centre.paths)).publicKey],
  );
});

test('P6: a record that is being written while the log is read is no finding; one that stays half is', async (t) => {
  const evidence = await filled(t);
  const log = readFileSync(evidence.heads);
  truncateSync(evidence.heads, log.length - 100);
  // Told behind each file of the archive: the log was read before.
  const { found } = await evidence.verify({ progress: () => writeFileSync(evidence.heads, log) });
  assert.deepEqual(found, []);
  truncateSync(evidence.heads, log.length - 100);
  assert.match((await evidence.verify()).found[0]!.message, /its last line is not whole/);
});

test('P6: what a crash left half-written in an archive, and that it was seen, is no finding', async (t) => {
  const evidence = await filled(t);
  writeFileSync(join(dirname(evidence.segments[0]!), '.segment.1.0000000001.jsonl.zst.new'), 'half');
  await evidence.spread();
  assert.ok(existsSync(join(evidence.root, 'leftovers.json')), 'it was not seen');
  assert.deepEqual((await evidence.verify()).found, []);
});

/**
 * Changes every `step`th byte of a file in turn, in one bit (for torture every byte, in every bit); answers those changes that `finds` does not
 * see.
 */
async function flipAll(
  file: string,
  step: number,
  finds: (at: number) => Promise<boolean>,
): Promise<{ flips: number; missed: string[] }> {
  const sound = readFileSync(file);
  const missed: string[] = [];
  let flips = 0;
  for (let at = 0; at < sound.length; at += scale(step, 1)) {
    for (const mask of scale([1 << (at % 8)], [1, 2, 4, 8, 16, 32, 64, 128])) {
      const spoiled = Buffer.from(sound);
      spoiled[at]! ^= mask;
      writeFileSync(file, spoiled);
      flips++;
      if (!(await finds(at))) missed.push(`${file} ${at} ^ ${mask}`);
    }
  }
  writeFileSync(file, sound);
  return { flips, missed };
}

test('P6: whichever byte of an archive is changed, verify finds it and names the file', async (t) => {
  const evidence = new Evidence(t);
  const { node, other } = evidence;
  await evidence.keep(node.next('logins', 'log', []));
  await evidence.keep(node.next('logins', 'log', []), other.next('users', 'log', []));
  let all = 0;
  for (const file of evidence.segments) {
    const { flips, missed } = await flipAll(file, 1, async () =>
      (await evidence.verify()).found.some(
        (finding) => finding.file === file || file.endsWith(`/${finding.file}`),
      ),
    );
    all += flips;
    assert.deepEqual(missed, []);
  }
  t.diagnostic(`${all} changed bytes, all found`);
  assert.deepEqual((await evidence.verify()).found, []);
});

test('P6: whichever byte of the log of heads is changed, verify finds it and names the line', async (t) => {
  const evidence = new Evidence(t);
  await evidence.keep(evidence.node.next('logins', 'log', []));
  await evidence.keep(evidence.node.next('logins', 'log', []), evidence.other.next('users', 'log', []));
  const second = readFileSync(evidence.heads).indexOf('\n') + 1;
  const { flips, missed } = await flipAll(evidence.heads, 3, async (at) =>
    (await evidence.verify({ archive: undefined })).found.some(
      ({ file, offset }) => file === 'heads/2026-11.jsonl' && offset === (at < second ? 1 : 2),
    ),
  );
  t.diagnostic(`${flips} changed bytes, all found`);
  assert.deepEqual(missed, []);
});

test('P6: whichever byte of a batch file is changed, verify finds it without anything to compare with', async (t) => {
  const evidence = new Evidence(t);
  const [first, second] = [
    evidence.node.next('logins', 'log', [plainEvent(1)]),
    evidence.node.next('logins', 'log', []),
  ];
  await evidence.centre.spool.create();
  await evidence.centre.route();
  const file = join(evidence.centre.paths.home, 'copy.jsonl');
  writeFileSync(file, Buffer.concat([first.bytes, second.bytes]));
  const { flips, missed } = await flipAll(file, 3, async (at) => {
    const start = at < first.bytes.length ? 0 : first.bytes.length;
    const { found } = await evidence.verify({ archive: undefined, files: [file] });
    return found.some((one) => one.file === file && one.kind === 'damaged' && one.offset! >= start);
  });
  t.diagnostic(`${flips} changed bytes, all found`);
  assert.deepEqual(missed, []);
});

test('P6: what is put into a trailer, which no signature covers, is found', async (t) => {
  const evidence = new Evidence(t);
  const file = join(evidence.centre.paths.home, 'copy.jsonl');
  const sound = evidence.node.next('logins', 'log', [plainEvent()]).bytes.toString();
  await evidence.centre.spool.create();
  await evidence.centre.route();
  for (const [what, instead] of [
    ['"end":1,', '"end":1,"note":"this never came from the node",'],
    ['"end":1,', '"end":1, '],
    ['"end":1,', '"end":1,"count":7,'],
    ['"count":1,', '"count":1.0,'],
  ] as const) {
    writeFileSync(file, sound.replace(what, instead));
    const { found } = await evidence.verify({ archive: undefined, files: [file] });
    assert.deepEqual(
      found.map(({ kind, message }) => [kind, message]),
      [['damaged', 'trailer: not written as a trailer is']],
    );
  }
});

test('P6: the same signature written in another way is no signature: base64 leaves bits unused at its end', async (t) => {
  const evidence = await filled(t);
  const sound = readFileSync(evidence.heads, 'utf8');
  const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
  const other = sound.replace(/(.)(=="\}\n)$/, (_, last, end) => `${digits[digits.indexOf(last) ^ 1]}${end}`);
  assert.notEqual(other, sound);
  writeFileSync(evidence.heads, other);
  assert.ok((await evidence.verify()).found.some(({ kind, offset }) => kind === 'heads' && offset === 2));
});

test('P6: wherever a segment or the log of heads is cut, verify finds it', async (t) => {
  const evidence = await filled(t);
  let cuts = 0;
  for (const file of [evidence.segments[1]!, evidence.heads]) {
    const sound = readFileSync(file);
    for (let size = 0; size < sound.length; size += scale(13, 1)) {
      truncateSync(file, size);
      cuts++;
      assert.notEqual((await evidence.verify()).found.length, 0, `${file} cut at ${size}`);
      writeFileSync(file, sound);
    }
  }
  t.diagnostic(`${cuts} cuts, all found`);
});

test('P6: what was countersigned and taken away is named: a file, the end of a stream, a stream; the index being gone too', async (t) => {
  const evidence = await filled(t);
  const [first, second] = evidence.segments;
  const aside = join(evidence.centre.paths.home, 'aside');
  renameSync(second!, aside);
  assert.deepEqual(await evidence.kinds(), ['index', 'taken logins 1', 'taken logins 3', 'taken users 1']);
  evidence.forgetIndex();
  assert.deepEqual(await evidence.kinds(), ['taken logins 1', 'taken logins 3', 'taken users 1']);
  renameSync(aside, second!);

  const sound = readFileSync(second!);
  evidence.rewrite(second!, (batches) => batches.filter(({ header }) => header.seq !== 3).map(bytesOf));
  assert.deepEqual(await evidence.kinds(), ['taken logins 3']);
  writeFileSync(second!, sound);
  evidence.rewrite(second!, (batches) =>
    batches.filter(({ header }) => header.agent !== 'users').map(bytesOf),
  );
  assert.deepEqual(await evidence.kinds(), ['taken users 1']);
  writeFileSync(second!, sound);
  evidence.rewrite(first!, (batches) => [batches[0]!.bytes]);
  assert.deepEqual(await evidence.kinds(), ['gap logins 3', 'taken logins 2']);
});

test('P6: two batches that changed places in their file are found by the digest of the file', async (t) => {
  const evidence = await filled(t);
  const [, second] = evidence.segments;
  const index = readFileSync(join(evidence.root, 'index.db'));
  evidence.rewrite(second!, ([one, two, three]) => [two!.bytes, one!.bytes, three!.bytes]);
  assert.deepEqual(
    await evidence.kinds(),
    [],
    'without the index each batch is still whole and in its place',
  );
  writeFileSync(join(evidence.root, 'index.db'), index);
  const { found } = await evidence.verify();
  assert.deepEqual(
    found.map(({ kind, message }) => [kind, message]),
    [['index', 'the file is not as it was written']],
  );
});

test('P6: who has the node’s key and puts another batch in the place of one that came is found by the countersigned head', async (t) => {
  const evidence = await filled(t);
  const thief = new FakeNode(OTHER, 'web2');
  [thief.key, thief.publicKey] = [evidence.other.key, evidence.other.publicKey];
  const forged = thief.next('users', 'log', [plainEvent(666)]);
  evidence.rewrite(evidence.segments[1]!, (batches) =>
    batches.map((batch) => (batch.header.agent === 'users' ? forged : batch).bytes),
  );
  const { found } = await evidence.verify();
  assert.deepEqual(
    found.map(({ kind, agent, seq }) => [kind, agent, seq]),
    [['replaced', 'users', 1]],
  );
  assert.equal(found[0]!.received, forged.trailer.sha256);
});

test('P6: a batch that was put into the archive past the centre’s door is found, and one of another key', async (t) => {
  const evidence = await filled(t);
  await evidence.spread(
    evidence.node.next('logins', 'log', []),
    new FakeNode(OTHER).next('packages', 'log', []),
  );
  assert.deepEqual(await evidence.kinds(), [
    'key packages 1',
    'uncountersigned logins 4',
    'uncountersigned packages 1',
  ]);
});

test('P6: a log of heads that was taken away, begun anew, or signed by another is found', async (t) => {
  const evidence = await filled(t);
  const sound = readFileSync(evidence.heads, 'utf8');
  const [one, two] = sound.trimEnd().split('\n');
  writeFileSync(evidence.heads, `${two}\n`);
  assert.deepEqual((await evidence.kinds()).slice(0, 2), ['heads', 'heads']);
  writeFileSync(evidence.heads, `${one}\n`);
  assert.deepEqual(
    new Set((await evidence.verify()).found.map(({ kind }) => kind)),
    new Set(['uncountersigned']),
  );
  rmSync(evidence.heads);
  assert.deepEqual(await evidence.kinds(), ['heads']);
  const other = await filled(t);
  cpSync(other.heads, evidence.heads);
  const { found } = await evidence.verify();
  assert.ok(found.some(({ message }) => message === 'written by another node than this home is'));
});

test('P6: a centre that wrote its log of heads anew is found by a record that was noted down', async (t) => {
  const evidence = await filled(t);
  const { all } = await evidence.verify();
  const noted = [{ n: all.heads!.n, sha256: all.heads!.sha256 }];
  await evidence.keep(evidence.node.next('logins', 'log', []));
  assert.deepEqual(await evidence.kinds({ noted }), []);
  rmSync(evidence.heads);
  await evidence.centre.enter(...evidence.segments.flatMap((name) => batchesIn(name)));
  await evidence.centre.route();
  assert.deepEqual(await evidence.kinds(), [], 'all agrees');
  const { found } = await evidence.verify({ noted });
  assert.deepEqual(
    found.map(({ kind, message }) => [kind, message]),
    [['heads', 'there is no record 2, which was noted down']],
  );
});

test('P6: a fork, and a batch made on another predecessor, are named with both digests', async (t) => {
  const evidence = await filled(t);
  const twin = new FakeNode();
  [twin.key, twin.publicKey] = [evidence.node.key, evidence.node.publicKey];
  const [first, second] = [
    twin.next('logins', 'log', [plainEvent(7)]),
    twin.next('logins', 'log', [plainEvent(8)]),
  ];
  twin.next('logins', 'log', []);
  const fourth = twin.next('logins', 'log', []);
  await evidence.keep(second!, fourth);
  const { found } = await evidence.verify();
  assert.deepEqual(
    found.map(({ kind, seq, received }) => [kind, seq, received]),
    [
      ['fork', 2, second!.trailer.sha256],
      ['chain', 2, first!.trailer.sha256],
      ['chain', 4, fourth.header.prev],
    ],
  );
});

test('P6: batches of a node that changed its key are whole; the old key is not taken again in a stream, nor a revoked one for what came later', async (t) => {
  const evidence = await filled(t);
  const old = new FakeNode();
  [old.key, old.publicKey] = [evidence.node.key, evidence.node.publicKey];
  evidence.node.rotate();
  await evidence.keep(evidence.node.next('logins', 'log', []));
  assert.deepEqual(await evidence.kinds(), []);
  const { prev, seq } = evidence.node.next('logins', 'log', []).header;
  await evidence.keep(old.next('logins', 'log', [], { prev, seq }));
  assert.deepEqual(await evidence.kinds(), ['key logins 5']);

  evidence.centre.now = new Date(evidence.centre.now.getTime() + 1000);
  await sayOfKey(
    evidence.centre.paths,
    { node: OTHER, key: evidence.other.publicKey, how: 'revoked' },
    evidence.centre.now,
  );
  assert.deepEqual(await evidence.kinds(), ['key logins 5'], 'what came before it was revoked stays whole');
  await evidence.spread(evidence.other.next('users', 'log', []));
  assert.deepEqual(await evidence.kinds(), ['key logins 5', 'key users 2', 'uncountersigned users 2']);
});

test('P6: what is on its way in the spool is not missing from archive or store', async (t) => {
  const evidence = await filled(t);
  await evidence.centre.enter(evidence.node.next('logins', 'log', []));
  await evidence.centre.route();
  assert.deepEqual(await evidence.kinds(), []);
});

test('P6: a batch that lies beside a damaged one in the spool’s corrupt files is not on its way', async (t) => {
  const evidence = new Evidence(t);
  const batches = [1, 2].map((n) => evidence.node.next('logins', 'log', [plainEvent(n)]));
  await evidence.keep(...batches);
  const { spool } = evidence.centre;
  const segment = Buffer.concat([...batches.map(({ bytes }) => bytes), Buffer.from('damage\n')]);
  await spool.enter('segment.run.0000000001.jsonl', segment);
  await evidence.centre.route();
  for await (const file of spool.files('queue', 'all')) await spool.delivered(file);
  assert.deepEqual(await evidence.kinds(), []);
  evidence.rewrite(evidence.segments[0]!, ([first]) => [first!.bytes]);
  assert.deepEqual(await evidence.kinds(), ['taken logins 2']);
});

test('P6: a file that is no segment is told, and an index that cannot be read', async (t) => {
  const evidence = await filled(t);
  const folder = join(evidence.segments[0]!, '..');
  writeFileSync(join(folder, 'stranger'), '');
  assert.deepEqual(await evidence.kinds(), ['unreadable']);
  rmSync(join(folder, 'stranger'));
  evidence.forgetIndex();
  appendFileSync(
    join(evidence.root, 'index.db'),
    'no database, and long enough to be looked at as one. '.repeat(50),
  );
  assert.deepEqual(await evidence.kinds(), ['index']);
});
