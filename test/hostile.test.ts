/** Hostile and broken input through the commands that people run: quarantined with its reason, told in a line, and in nobody's way (P7). */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { Options } from 'amqplib';
import { FakeNode } from './helpers/batches.ts';
import { dsac, Home, type Ran } from './helpers/dsac.ts';
import { bombs, type HostileCase, hostileCases, largeBombs, longLine } from './helpers/hostile.ts';
import { ownQueue, servicesLeftOut } from './helpers/services.ts';

/** What a command may use at most, whatever it is given: the most that one file may unfold to, twice, and room for the rest. In MB. */
const MOST_MEMORY = 1024;

/** Writes the most memory that a process ever had, in kB, where it is told to. */
const WITNESS = `import{writeFileSync}from'node:fs';process.on('exit',()=>writeFileSync(process.env.DSAC_TEST_PEAK,String(process.resourceUsage().maxRSS)))`;

interface Measured extends Ran {
  readonly peakMb: number;
  readonly ms: number;
}

async function measured(home: Home, ...args: string[]): Promise<Measured> {
  const witness = join(home.path, 'peak');
  const started = performance.now();
  const ran = await dsac([...args, '--home', home.path], {
    env: {
      NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(WITNESS)}`,
      DSAC_TEST_PEAK: witness,
    },
  });
  return {
    ...ran,
    peakMb: Number(readFileSync(witness, 'utf8')) / 1024,
    ms: performance.now() - started,
  };
}

const TIME = '2026-11-23T01:00:00.000Z';

/** Good batches that stand before and behind a hostile one: their items tell which case and which side. */
class Neighbours {
  readonly #node = new FakeNode('6f1c5a9e-0f5e-4d0e-8a54-ffffffffffff', 'good');
  readonly items: string[] = [];

  next(item: string): Buffer {
    this.items.push(item);
    return this.#node.next('neighbours', 'log', [{ time: TIME, action: 'happened', item }]).bytes;
  }

  around({ name, bytes }: HostileCase): Buffer {
    return Buffer.concat([this.next(`${name}/before`), bytes, this.next(`${name}/behind`)]);
  }
}

function namesIn(directory: string): string[] {
  return readdirSync(directory).filter((name) => !name.endsWith('.why.json'));
}

function reasonOf(directory: string, name: string): string {
  return String(JSON.parse(readFileSync(join(directory, `${name}.why.json`), 'utf8')).reason);
}

const isCorrupt = ({ fate }: HostileCase): boolean => 'corrupt' in fate;

/** Puts every case into a directory: as a file of its own, and between two good batches where it can be. */
function scatter(directory: string, cases: readonly HostileCase[], neighbours: Neighbours): void {
  mkdirSync(directory, { recursive: true });
  for (const one of cases) {
    const ending = one.compressed ? '.jsonl.zst' : '.jsonl';
    writeFileSync(join(directory, `alone-${one.name}${ending}`), one.bytes);
    if (!one.alone) writeFileSync(join(directory, `segment.${one.name}.jsonl`), neighbours.around(one));
  }
}

/** Each case that is none is in `corrupt`, as it came and with its reason, and nothing else is. */
function assertQuarantined(directory: string, cases: readonly HostileCase[]): void {
  const expected: string[] = [];
  for (const { name, bytes, compressed, alone, fate } of cases) {
    if (!('corrupt' in fate)) continue;
    const file = `alone-${name}.jsonl${compressed ? '.zst' : ''}`;
    assert.match(reasonOf(directory, file), fate.corrupt, name);
    assert.ok(readFileSync(join(directory, file)).equals(bytes), `${name}: not as it came`);
    expected.push(file);
    if (alone) continue;
    assert.match(reasonOf(directory, `segment.${name}.jsonl`), fate.corrupt, name);
    expected.push(`segment.${name}.jsonl`);
  }
  assert.deepEqual(namesIn(directory).sort(), expected.sort());
}

/** What the store refuses is with its reason in `failed/store`: a file for each batch. */
function assertRefused(home: Home, cases: readonly HostileCase[]): void {
  const directory = join(home.path, 'var/spool/dsac/in/failed/store');
  const reasons = namesIn(directory).map((name) => reasonOf(directory, name));
  for (const { name, fate } of cases)
    if ('failed' in fate)
      assert.ok(
        reasons.some((reason) => fate.failed.test(reason)),
        `${name}: ${reasons}`,
      );
  assert.equal(reasons.length, cases.filter(({ fate }) => 'failed' in fate).length);
}

/** The good neighbours, and what is odd but right, are in the store exactly once. */
async function assertTaken(home: Home, cases: readonly HostileCase[], neighbours: Neighbours): Promise<void> {
  const lines = (await home.run('report', 'changes', '--since', '2026-01-01', '--format', 'ndjson'))
    .trim()
    .split('\n');
  const items = lines.map((line) => String(JSON.parse(line).item));
  const odd = cases.flatMap(({ fate }) => ('taken' in fate ? (fate.taken ?? []) : []));
  assert.deepEqual(items.sort(), [...neighbours.items, ...odd].sort());
}

/** C0 but for line ends, DEL, C1, and what turns the direction of text. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: that they are not there is the point
const ACTS = /[\u0000-\u0009\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/;

async function assertHarmless(home: Home): Promise<void> {
  for (const format of ['table', 'csv', 'json', 'ndjson']) {
    const text = await home.run('report', 'changes', '--since', '2026-01-01', '--format', format);
    assert.doesNotMatch(text, ACTS, format);
    assert.match(text, /bidi/);
    if (format === 'csv') assert.doesNotMatch(text, /(?:^|,)"?[=+@-]/m, 'a formula');
  }
}

function assertBounded(t: TestContext, what: string, { peakMb, ms }: Measured): void {
  t.diagnostic(`${what}: ${Math.round(peakMb)} MB at most, ${Math.round(ms)} ms`);
  assert.ok(peakMb < MOST_MEMORY, `${what}: ${peakMb} MB`);
}

const TORTURE = process.env.DSAC_TORTURE === '1';
/** How many batches there are in one file of very small ones. */
const MANY = TORTURE ? 10_000 : 1000;

const NOBODY = 65534;
const notRoot: string | false = process.getuid?.() !== 0 && 'left out: becoming an ordinary user needs root';

/** How many files of these cases are set aside as damaged. */
function damagedFiles(cases: readonly HostileCase[]): number {
  const bad = cases.filter(isCorrupt);
  return bad.length + bad.filter(({ alone }) => !alone).length;
}

function filesBelow(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => entry.name);
}

test('P7: whatever lies in a node’s spool, dispatch sends what is good once and sets the rest aside', async (t) => {
  const home = new Home(t);
  await home.run('init');
  const cases = [...hostileCases(20), ...bombs(), longLine()];
  const neighbours = new Neighbours();
  const spool = join(home.path, 'var/spool/dsac/out');
  scatter(join(spool, 'new'), cases, neighbours);
  const dispatched = await measured(home, 'dispatch');
  assertBounded(t, 'dispatch', dispatched);
  assert.deepEqual(
    [dispatched.stderr, dispatched.code],
    [`dsac-dispatch: ${damagedFiles(cases)} damaged file(s) set aside: see dsac spool ls corrupt\n`, 65],
  );
  assertQuarantined(join(spool, 'corrupt'), cases);
  assert.deepEqual([...filesBelow(join(spool, 'new')), ...filesBelow(join(spool, 'queue'))], []);
  const again = await measured(home, 'dispatch');
  assert.deepEqual([again.stderr, again.code], ['', 0]);

  const processed = await measured(home, 'process');
  assert.match(
    processed.stderr,
    /^dsac-process: store: \d+ delivered, 7 given up: see dsac spool ls failed --stack in\n$/,
  );
  assert.equal(processed.code, 75);
  assertRefused(home, cases);
  await assertTaken(home, cases, neighbours);
  await assertHarmless(home);
});

test('P7: whatever lies in the central spool, and however odd the things beside it are, process takes what is good once', async (t) => {
  const home = new Home(t);
  await home.run('init', '--role', 'central');
  const cases = hostileCases(MANY);
  const neighbours = new Neighbours();
  const spool = join(home.path, 'var/spool/dsac/in');
  scatter(join(spool, 'new'), cases, neighbours);
  for (const place of ['new', 'hold', 'corrupt', 'queue', 'failed', 'tmp']) {
    execFileSync('mkfifo', [join(spool, place, 'pipe.jsonl')]);
    mkdirSync(join(spool, place, 'folder.jsonl'));
    symlinkSync('/dev/zero', join(spool, place, 'link.jsonl'));
    symlinkSync('/nowhere', join(spool, place, 'dangling.jsonl.zst'));
  }
  const sparse = join(spool, 'new/sparse.jsonl');
  writeFileSync(sparse, '');
  truncateSync(sparse, 1024 ** 3);
  writeFileSync(join(spool, 'new/notes.txt'), 'not mine');

  const processed = await measured(home, 'process');
  assertBounded(t, 'process', processed);
  assert.deepEqual(processed.stderr.split('\n'), [
    `dsac-process: ${damagedFiles(cases) + 2} damaged file(s) set aside: see dsac spool ls corrupt --stack in`,
    `dsac-process: store: ${MANY + 126} delivered, 14 given up: see dsac spool ls failed --stack in`,
    '',
  ]);
  assert.equal(processed.code, 75);
  assert.match(
    reasonOf(join(spool, 'corrupt'), 'sparse.jsonl'),
    /^at byte 0: 1073741824 bytes, over 268435456$/,
  );
  assert.match(reasonOf(join(spool, 'corrupt'), 'notes.txt'), /its name is not a batch’s/);
  await assertTaken(home, cases, neighbours);
  assert.equal((await measured(home, 'process')).code, 0);
  const listed = await home.run('spool', 'ls', '--stack', 'in');
  assert.doesNotMatch(listed, ACTS);
});

test('P7: a file that cannot be read is held and told, and the others go on', {
  skip: notRoot,
}, async (t) => {
  const home = new Home(t);
  const neighbours = new Neighbours();
  await home.run('init', '--role', 'central');
  const spool = join(home.path, 'var/spool/dsac/in');
  writeFileSync(join(spool, 'new/unreadable.jsonl'), neighbours.next('unreadable'), { mode: 0 });
  writeFileSync(join(spool, 'new/readable.jsonl'), neighbours.next('readable'));
  execFileSync('chown', ['-R', `${NOBODY}:${NOBODY}`, home.path]);
  const args = ['process', '--home', home.path];
  const { stderr, code } = await dsac(args, { uid: NOBODY });
  assert.equal(
    stderr,
    'dsac-process: 1 file(s) that cannot be read put on hold: see dsac spool ls hold --stack in\n',
  );
  assert.equal(code, 65);
  assert.match(reasonOf(join(spool, 'hold'), 'unreadable.jsonl'), /permission denied/i);
  chmodSync(join(spool, 'hold/unreadable.jsonl'), 0o600);
  await home.run('spool', 'release', 'hold', '--stack', 'in');
  await home.run('process');
  await assertTaken(home, [], neighbours);
});

test('P7: a file that grows while it is read ends the run in time, with what was whole when it was read', async (t) => {
  const home = new Home(t);
  await home.run('init', '--role', 'central');
  const neighbours = new Neighbours();
  const file = openSync(join(home.path, 'var/spool/dsac/in/new/growing.jsonl'), 'a');
  writeSync(file, neighbours.next('first'));
  const growing = setInterval(() => writeSync(file, neighbours.next('later')), 1);
  try {
    assertBounded(t, 'process', await measured(home, 'process'));
  } finally {
    clearInterval(growing);
    closeSync(file);
  }
  const told = await home.run('report', 'changes', '--since', '2026-01-01', '--format', 'ndjson');
  assert.equal(told.split('"first"').length, 2);
});

/** Publishes bodies to a queue of the test's own, which `consume` of this home reads. */
async function brokered(t: TestContext): Promise<{
  home: Home;
  send(body: Buffer, properties?: Options.Publish): void;
  sent(): Promise<void>;
}> {
  const own = ownQueue(t);
  const home = new Home(t, `consume: ${JSON.stringify(own)}\n`);
  await home.run('init', '--role', 'central');
  await home.run('consume', '--setup');
  const { default: amqplib } = await import('amqplib');
  const connection = await amqplib.connect(own.url);
  t.after(() => connection.close());
  const channel = await connection.createConfirmChannel();
  return {
    home,
    send: (body, properties = {}) =>
      void channel.publish(own.exchange, 'dsac.x.y', body, { type: 'dsac.batch.v1', ...properties }),
    sent: () => channel.waitForConfirms(),
  };
}

test('P7: whatever comes as a message, consume takes what is good once and sets the rest aside', {
  skip: servicesLeftOut,
}, async (t) => {
  const { home, send, sent } = await brokered(t);
  const cases = [...hostileCases(20), ...bombs(), ...(TORTURE ? largeBombs() : [])];
  const neighbours = new Neighbours();
  for (const one of cases) {
    send(one.bytes, one.compressed ? { contentEncoding: 'zstd' } : {});
    if (!one.alone) send(neighbours.around(one));
  }
  const two = Buffer.concat([neighbours.next('two/1'), neighbours.next('two/2')]);
  send(two, { messageId: '../../etc/passwd\u001b[2J', headers: { x: 'x'.repeat(60_000) } });
  send(neighbours.next('twice'), { messageId: 'not a uuid' });
  const odd: [Buffer, Options.Publish, RegExp][] = [
    [two, { type: 'other\u202e' }, /type: expected dsac\.batch\.v1/],
    [two, { type: undefined }, /type: expected dsac\.batch\.v1, the message has none/],
    [two, { contentEncoding: 'gzip' }, /content-encoding: expected none or zstd/],
    [two, { contentEncoding: 'zstd' }, /not readable zstd/],
    [Buffer.alloc(0), {}, /empty file/],
  ];
  for (const [body, properties] of odd) send(body, properties);
  await sent();

  const consumed = await measured(home, 'consume');
  assertBounded(t, 'consume', consumed);
  const corrupt = damagedFiles(cases) + odd.length;
  assert.deepEqual(
    [consumed.stderr, consumed.code],
    [
      `dsac-consume: ${corrupt} message(s) that are no batch set aside: see dsac spool ls corrupt --stack in\n`,
      0,
    ],
  );
  const directory = join(home.path, 'var/spool/dsac/in/corrupt');
  const reasons = namesIn(directory).map((name) => reasonOf(directory, name));
  const expected = cases.flatMap(({ fate }) => ('corrupt' in fate ? [fate.corrupt] : []));
  for (const reason of [...expected, ...odd.map(([, , why]) => why)])
    assert.ok(
      reasons.some((told) => reason.test(told)),
      `${reason} in ${reasons.join('\n')}`,
    );
  assert.equal(reasons.length, corrupt);
  const kept = filesBelow(directory).map((name) => statSync(join(directory, name)).size);
  assert.ok(Math.max(...kept) < 1_000_000, 'a bomb is kept as it came');
  await home.run('process').catch(() => {});
  await assertTaken(home, cases, neighbours);
  assert.equal((await measured(home, 'consume')).stderr, '');
});
