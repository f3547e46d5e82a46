/** What can still be read of damaged batches, through the commands that people run: visible, marked, and taken for nothing else. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { zstdCompressSync } from 'node:zlib';
import type { Batch, BatchEvent } from '../src/spool/batch.ts';
import { decode } from '../src/spool/decode.ts';
import { seal } from '../src/spool/encode.ts';
import { FakeNode, plainEvent } from './helpers/batches.ts';
import { Home, type Ran } from './helpers/dsac.ts';

const WEB1 = '6f1c5a9e-0f5e-4d0e-8a54-3c1c7d4a9b10';

/** A centre with damaged files in it. */
class Centre {
  readonly home: Home;
  readonly spool: string;
  readonly node: FakeNode = new FakeNode(WEB1, 'web1');

  private constructor(t: TestContext) {
    this.home = new Home(t);
    this.spool = join(this.home.path, 'var/spool/dsac/in');
  }

  static async make(t: TestContext): Promise<Centre> {
    const centre = new Centre(t);
    await centre.home.run('init');
    return centre;
  }

  put(where: string, name: string, bytes: Uint8Array): void {
    mkdirSync(join(this.spool, where), { recursive: true });
    writeFileSync(join(this.spool, where, name), bytes);
  }

  salvage(pattern = 'corrupt'): Promise<Ran> {
    return this.home.try('spool', 'salvage', pattern, '--stack', 'in');
  }

  held(): string[] {
    return readdirSync(join(this.spool, 'hold')).filter((name) => !name.endsWith('.why.json'));
  }

  /** The batches of the one file in `hold`. */
  batches(): Batch[] {
    const [name, ...more] = this.held();
    assert.deepEqual(more, []);
    return [...decode(readFileSync(join(this.spool, 'hold', name!)))].map(({ batch }) => batch!);
  }

  async releaseAndProcess(): Promise<void> {
    await this.home.run('spool', 'release', 'hold', '--stack', 'in');
    await this.home.run('process');
  }

  async rows(report: string): Promise<Record<string, unknown>[]> {
    const text = await this.home.run('report', report, '--since', '2026-01-01', '--format', 'ndjson');
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  }
}

const item = ({ item }: BatchEvent): string | undefined => item;

function login(n: number): BatchEvent {
  return { ...plainEvent(n), action: 'login', item: `thing/${n}`, data: { n } };
}

test('P5: of a cut batch the whole events are salvaged, marked wherever they show, and close no gap', async (t) => {
  const centre = await Centre.make(t);
  const [first, second, third] = [1, 2, 3].map((n) =>
    centre.node.next('logins', 'log', [login(n), login(n + 10)]),
  );
  const cut = second!.bytes.subarray(0, second!.bytes.lastIndexOf('{"time":') + 30);
  centre.put('new', 'segment.x.jsonl', Buffer.concat([first!.bytes, cut, third!.bytes]));
  assert.equal((await centre.home.try('process')).code, 65);
  const { stdout, stderr, code } = await centre.salvage();
  assert.match(stdout, /^salvaged corrupt\/segment\.x\.jsonl: 1 events, 1 lost: hold\/segment\.salvage-/);
  assert.deepEqual([stderr, code], ['', 0]);

  const [batch, ...more] = centre.batches();
  assert.deepEqual(more, []);
  const { agent, node, kind, salvage } = batch!.header;
  assert.deepEqual([agent, kind, node === WEB1], ['salvage', 'log', false]);
  assert.deepEqual(
    [salvage?.host, salvage?.agent, salvage?.seq, salvage?.node, salvage?.lost],
    ['web1', 'logins', 2, WEB1, 1],
  );
  assert.match(
    readFileSync(join(centre.spool, 'hold', `${centre.held()[0]}.why.json`), 'utf8'),
    /1 line\(s\) lost/,
  );

  const before = await centre.rows('completeness');
  await centre.releaseAndProcess();
  const told = (await centre.rows('changes')).filter(({ agent: by }) => by === 'salvage');
  assert.deepEqual(
    told.map(({ item: what, summary }) => [what, summary]),
    [['thing/2', 'salvaged line 2 of batch 2 of logins on web1, told {"n":2}']],
  );
  assert.equal(
    (await centre.rows('logins')).some((row) => JSON.stringify(row).includes('thing/2')),
    false,
  );
  assert.deepEqual(await centre.rows('completeness'), before, 'neither fewer gaps nor more nodes');
});

test('P3: salvaging again makes no second copy, before and after the first was released', async (t) => {
  const centre = await Centre.make(t);
  const { bytes } = centre.node.next('logins', 'log', [login(1), login(2)]);
  centre.put('corrupt', 'a.jsonl', bytes.subarray(0, -40));
  await centre.salvage();
  const [name] = centre.held();
  await centre.salvage();
  assert.deepEqual(centre.held(), [name]);
  await centre.releaseAndProcess();
  await centre.salvage();
  assert.deepEqual(centre.held(), [name]);
  await centre.releaseAndProcess();
  assert.equal((await centre.rows('changes')).length, 2);
  assert.doesNotMatch(JSON.stringify(await centre.rows('completeness')), /"forks":[1-9]/);
});

test('of a batch with one bad event the others are salvaged from failed/', async (t) => {
  const centre = await Centre.make(t);
  const { header } = centre.node.next('logins', 'log', []);
  const events = [login(1), { ...login(2), item: 'bad\u0007' }, login(3)];
  const { bytes } = seal(header, events, centre.node.key);
  centre.put('new', 'logins.jsonl', bytes);
  assert.equal((await centre.home.try('process')).code, 75);
  assert.equal((await centre.salvage('failed')).code, 0);
  assert.deepEqual(
    centre.batches().map((batch) => [...batch.events()].map(item)),
    [['thing/1', 'thing/3']],
  );
  assert.match(centre.batches()[0]!.header.salvage!.reason, /event 2: item/);
});

test('whatever of a file is damaged, what can be read of each batch in it is salvaged by itself', async (t) => {
  const centre = await Centre.make(t);
  const batches = [1, 2, 3].map((n) => centre.node.next('logins', 'log', [login(n)]).bytes);
  const headless = batches[0]!.subarray(batches[0]!.indexOf(0x0a) + 1);
  const flipped = Buffer.from(batches[1]!);
  flipped[flipped.indexOf('"seq":') + 6] = 0x78;
  const all = Buffer.concat([headless, flipped, batches[2]!.subarray(0, -20), Buffer.alloc(5000)]);
  centre.put('corrupt', 'all.jsonl', all);
  // Its first blocks unfold, its last does not.
  const long = Buffer.concat([all, randomBytes(500_000)]);
  centre.put('corrupt', 'folded.jsonl.zst', zstdCompressSync(long).subarray(0, -1000));
  centre.put('corrupt', 'nothing.jsonl', Buffer.alloc(4096));
  const { stdout, stderr } = await centre.salvage();
  assert.equal(stdout.split('\n').length, 3);
  assert.match(stderr, /corrupt\/nothing\.jsonl: nothing to salvage/);
  const held = centre.held();
  const found = held.flatMap((name) => [...decode(readFileSync(join(centre.spool, 'hold', name)))]);
  const told = found.flatMap(({ batch }) => [...batch!.events()].map(({ data }) => data!.salvaged));
  for (const place of [
    'line 1 of a batch of an unknown agent on an unknown node',
    'line 2 of a batch of an unknown agent on an unknown node',
    'line 2 of batch 3 of logins on web1',
  ])
    assert.ok(told.includes(place), `${place} in ${told.join(', ')}`);
});

test('where nothing can be read, salvage says so and ends with 65', async (t) => {
  const centre = await Centre.make(t);
  centre.put('corrupt', 'nothing.jsonl', Buffer.alloc(4096));
  const { stdout, stderr, code } = await centre.salvage();
  assert.deepEqual([stdout, code], ['', 65]);
  assert.match(stderr, /nothing to salvage\n.*no event of a damaged batch can be read/);
  assert.deepEqual(centre.held(), []);
});
