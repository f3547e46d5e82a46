import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { System } from '../../src/host/system.ts';
import { type FollowCursor, followBytes } from '../../src/source/follow.ts';
import { followLines } from '../../src/source/follow-lines.ts';
import { hasLog, rotatedNames } from '../../src/source/rotated.ts';
import { temporary } from '../helpers/tree.ts';

const LOG = '/var/log/a.log';

interface Read {
  readonly lines: string[];
  readonly lost: string[];
  readonly cursor: FollowCursor | undefined;
}

/** A root with an empty /var/log, and a reader that continues where it stopped, its cursor stored as JSON in between. */
function logFolder(t: TestContext) {
  const root = temporary(t);
  mkdirSync(join(root, 'var/log'), { recursive: true });
  const at = (name: string): string => join(root, 'var/log', name);
  let cursor: unknown;
  return {
    system: new System(root),
    at,
    write: (name: string, text: string | Uint8Array) => writeFileSync(at(name), text),
    /** Sets when a file was last written, in seconds; each test's own clock. */
    age: (name: string, seconds: number) => utimesSync(at(name), seconds, seconds),
    async read(from: unknown = cursor): Promise<Read> {
      const lines: string[] = [];
      const lost: string[] = [];
      let last = from as FollowCursor | undefined;
      for await (const step of followLines(new System(root), LOG, from)) {
        if ('lost' in step) lost.push(step.lost);
        else if ('line' in step) lines.push(step.line.toString());
        last = step.cursor;
      }
      cursor = last === undefined ? undefined : JSON.parse(JSON.stringify(last));
      return { lines, lost, cursor: last };
    },
  };
}

const lines = (from: number, to: number): string =>
  Array.from({ length: to - from }, (_, index) => `line ${from + index} of this log\n`).join('');
const expected = (from: number, to: number): string[] => lines(from, to).split('\n').slice(0, -1);

test('without a cursor every rotated copy is read, oldest first, in each compression', async (t) => {
  const log = logFolder(t);
  for (const [program, ending, name, from] of [
    ['bzip2', 'bz2', 'a.log.5', 0],
    ['xz', 'xz', 'a.log.4', 10],
  ] as const) {
    writeFileSync(log.at(name), lines(from, from + 10));
    if (spawnSync(program, [log.at(name)]).error) t.diagnostic(`not compressed, no ${program} here: ${name}`);
    else assert.ok(existsSync(log.at(`${name}.${ending}`)));
  }
  log.write('a.log.3.zst', zstdCompressSync(lines(20, 30)));
  log.write('a.log.2.gz', Buffer.concat([gzipSync(lines(30, 35)), gzipSync(lines(35, 40))]));
  log.write('a.log.1', lines(40, 50));
  log.write('a.log', lines(50, 60));
  assert.deepEqual(await log.read(), { ...(await log.read(undefined)), lines: expected(0, 60), lost: [] });
});

test('ten rotated copies sort by number and dated ones by date, whatever the folder says first', () => {
  const names = ['a.log.10.gz', 'a.log.9.gz', 'a.log.1', 'a.log', 'a.log.save', 'b.log.1', 'a.log.1.gz.tmp'];
  assert.deepEqual(rotatedNames('a.log', names).numbered, ['a.log.10.gz', 'a.log.9.gz', 'a.log.1']);
  const dated = ['a.log-20261124.gz', 'a.log-20251231', 'a.log.2026-11-25', 'a-20261126.log.xz', 'a.log-x'];
  assert.deepEqual(rotatedNames('a.log', dated).dated, [
    'a.log-20251231',
    'a.log-20261124.gz',
    'a.log.2026-11-25',
    'a-20261126.log.xz',
  ]);
});

test('a rotated copy that is just being compressed is read once', async (t) => {
  const log = logFolder(t);
  log.write('a.log.1', lines(0, 10));
  log.write('a.log.1.gz', gzipSync(lines(0, 10)).subarray(0, 20));
  log.write('a.log', lines(10, 12));
  assert.deepEqual((await log.read()).lines, expected(0, 12));
});

test('a line without LF is left for the next run, and taken once a newer file has begun', async (t) => {
  const log = logFolder(t);
  log.write('a.log', 'one\ntw');
  assert.deepEqual((await log.read()).lines, ['one']);
  appendFileSync(log.at('a.log'), 'o\nthr');
  assert.deepEqual((await log.read()).lines, ['two']);
  renameSync(log.at('a.log'), log.at('a.log.1'));
  log.write('a.log', '');
  assert.deepEqual((await log.read()).lines, []);
  log.write('a.log', 'four\n');
  assert.deepEqual(await log.read().then((r) => [r.lines, r.lost]), [['thr', 'four'], []]);
});

test('reading in two runs split at any byte gives the lines of one run', async (t) => {
  const whole = 'a\n\nlonger line\r\n\xff\xfe bytes\nlast\n';
  const bytes = Buffer.from(whole, 'latin1');
  for (let cut = 0; cut <= bytes.length; cut++) {
    const log = logFolder(t);
    log.write('a.log', bytes.subarray(0, cut));
    const first = await log.read();
    appendFileSync(log.at('a.log'), bytes.subarray(cut));
    const second = await log.read();
    assert.deepEqual(
      [...first.lines, ...second.lines],
      bytes.toString().split('\n').slice(0, -1),
      `cut at ${cut}`,
    );
    assert.deepEqual([...first.lost, ...second.lost], [], `cut at ${cut}`);
  }
});

test('what was left of a file is read from its rotated, compressed copy, before the newer ones', async (t) => {
  const log = logFolder(t);
  log.write('a.log', lines(0, 100));
  await log.read();
  log.write('a.log.3.gz', gzipSync(lines(0, 120)));
  log.write('a.log.2.gz', gzipSync(lines(120, 130)));
  log.write('a.log.1', lines(130, 140));
  log.write('a.log', lines(140, 150));
  assert.deepEqual(await log.read().then((r) => [r.lines, r.lost]), [expected(100, 150), []]);
});

test('copytruncate loses nothing, also when the copy exists and the log is not yet truncated', async (t) => {
  const log = logFolder(t);
  log.write('a.log', lines(0, 100));
  await log.read();
  appendFileSync(log.at('a.log'), lines(100, 110));
  copyFileSync(log.at('a.log'), log.at('a.log.1'));
  assert.deepEqual((await log.read()).lines, expected(100, 110));
  truncateSync(log.at('a.log'));
  assert.deepEqual((await log.read()).lines, []);
  appendFileSync(log.at('a.log'), lines(110, 112));
  assert.deepEqual(await log.read().then((r) => [r.lines, r.lost]), [expected(110, 112), []]);
});

test('a log truncated without a copy is a loss that is told once, and what follows is read', async (t) => {
  const log = logFolder(t);
  log.write('a.log', lines(0, 100));
  await log.read();
  log.write('a.log', lines(500, 501));
  const { lines: got, lost } = await log.read();
  assert.deepEqual(got, expected(500, 501));
  assert.match(lost.join(), /a\.log was truncated or rewritten, and no rotated copy holds/);
  assert.deepEqual((await log.read()).lost, []);
});

test('what replaced a log within one tick of the clock of files is read, at once or by the run after the one that told the loss', async (t) => {
  const log = logFolder(t);
  log.write('a.log', lines(0, 100));
  log.age('a.log', 1000);
  const { cursor } = await log.read();
  log.write('a.log', lines(500, 501));
  log.age('a.log', 1000);
  const run = await log.read(cursor);
  assert.deepEqual(run.lines, expected(500, 501));
  assert.equal(run.lost.length, 1);
  let told: unknown;
  for await (const step of followLines(log.system, LOG, cursor)) {
    told = JSON.parse(JSON.stringify(step.cursor));
    break;
  }
  assert.deepEqual(await log.read(told), { ...run, lost: [] });
});

test('what replaced a log is read although the clock went back behind what had been read', async (t) => {
  for (const how of ['replaced', 'removed and made anew']) {
    const log = logFolder(t);
    const ahead = Date.now() / 1000 + 1_000_000;
    log.write('a.log.1', lines(0, 50));
    log.age('a.log.1', ahead - 10);
    log.write('a.log', lines(50, 100));
    log.age('a.log', ahead);
    assert.deepEqual((await log.read()).lines, expected(0, 100));
    rmSync(log.at('a.log'));
    let { lost } = how === 'replaced' ? { lost: [] as string[] } : await log.read();
    log.write('a.log', lines(500, 501));
    const read = await log.read();
    lost = [...lost, ...read.lost];
    assert.deepEqual([read.lines, lost.length], [expected(500, 501), 1], how);
    appendFileSync(log.at('a.log'), lines(501, 502));
    assert.deepEqual(await log.read().then((r) => [r.lines, r.lost]), [expected(501, 502), []], how);
  }
});

test('lines taken out of the end of a log are noticed', async (t) => {
  const log = logFolder(t);
  log.write('a.log', lines(0, 100));
  await log.read();
  truncateSync(log.at('a.log'), lines(0, 60).length);
  assert.match((await log.read()).lost.join(), /a\.log was cut: it ends before byte 1990/);
});

test('lines taken out of the middle of a log are noticed although it grew', async (t) => {
  const log = logFolder(t);
  log.write('a.log', lines(0, 200));
  await log.read();
  log.write('a.log', lines(0, 100) + lines(103, 300));
  const read = await log.read();
  assert.match(read.lost.join(), /a\.log was rewritten: the bytes before/);
  assert.ok(read.lines.includes('line 299 of this log'));
});

test('after a loss, copies last written before the cursor are not read again', async (t) => {
  const log = logFolder(t);
  log.write('a.log.1', lines(0, 50));
  log.age('a.log.1', 1000);
  log.write('a.log', lines(50, 100));
  log.age('a.log', 2000);
  await log.read();
  rmSync(log.at('a.log'));
  log.write('a.log', lines(300, 301));
  log.age('a.log', 3000);
  const { lines: got, lost } = await log.read();
  assert.deepEqual([got, lost.length], [expected(300, 301), 1]);
});

test('a log that vanished altogether is a loss, told once', async (t) => {
  const log = logFolder(t);
  log.write('a.log', lines(0, 10));
  await log.read();
  rmSync(log.at('a.log'));
  assert.deepEqual((await log.read()).lost, ['/var/log/a.log and its rotated copies are gone']);
  assert.deepEqual(await log.read().then((r) => [r.lines, r.lost]), [[], []]);
  log.write('a.log', lines(10, 12));
  assert.deepEqual((await log.read()).lines, expected(10, 12));
});

/** A log that was read and then rotated, and is empty since; `rotate` makes it the only copy there is, as `rotate 1` does. */
async function quietLog(t: TestContext) {
  const log = logFolder(t);
  log.write('a.log', lines(0, 10));
  log.age('a.log', 1000);
  await log.read();
  const rotate = async (): Promise<void> => {
    // A clock of files that stands still for some milliseconds must not make two files one.
    await new Promise((settle) => setTimeout(settle, 20));
    renameSync(log.at('a.log'), log.at('a.log.1'));
    log.write('a.log', '');
  };
  await rotate();
  return { log, rotate };
}

test('a copy that had been read goes with the next rotation of a log that stayed empty, and nothing is lost', async (t) => {
  const { log, rotate } = await quietLog(t);
  assert.deepEqual(await log.read().then((r) => [r.lines, r.lost]), [[], []]);
  await rotate();
  assert.deepEqual(await log.read().then((r) => [r.lines, r.lost]), [[], []]);
  log.write('a.log', lines(10, 12));
  assert.deepEqual(await log.read().then((r) => [r.lines, r.lost]), [expected(10, 12), []]);
});

test('what was written between two rotations of a quiet log is read, or its loss is told', async (t) => {
  for (const rotations of [1, 2]) {
    const { log, rotate } = await quietLog(t);
    await log.read();
    appendFileSync(log.at('a.log'), lines(10, 12));
    for (let n = 0; n < rotations; n++) await rotate();
    appendFileSync(log.at('a.log'), lines(12, 13));
    const { lines: got, lost } = await log.read();
    assert.deepEqual([got, lost.length], rotations === 1 ? [expected(10, 13), 0] : [expected(12, 13), 1]);
  }
});

test('a copy that had been read and goes while it may still be written to, or beside a log that is cut in place, is a loss', async (t) => {
  const young = await quietLog(t);
  young.log.age('a.log.1', Date.now() / 1000 - 3600);
  await young.log.read();
  await young.rotate();
  assert.equal((await young.log.read()).lost.length, 1);
  const cut = logFolder(t);
  cut.write('a.log', lines(0, 10));
  await cut.read();
  copyFileSync(cut.at('a.log'), cut.at('a.log.1'));
  cut.age('a.log.1', 1000);
  truncateSync(cut.at('a.log'));
  await cut.read();
  rmSync(cut.at('a.log.1'));
  assert.equal((await cut.read()).lost.length, 1);
});

test('a reused inode is not taken for the file that was read', async (t) => {
  const log = logFolder(t);
  log.write('a.log', lines(0, 100));
  const { cursor } = await log.read();
  log.write('a.log', lines(1000, 1200));
  const inode = (await log.system.stat(LOG))!.ino;
  const { lines: got, lost } = await log.read({ ...cursor!, inode });
  assert.deepEqual([got.length, lost.length], [200, 1]);
});

test('a damaged copy costs what is damaged: all before and after it is read, the damage told once', async (t) => {
  const log = logFolder(t);
  const random = Array.from({ length: 3000 }, (_, index) => `${index} ${Math.sin(index)}\n`).join('');
  log.write('a.log.2.gz', gzipSync(random).subarray(0, -200));
  log.age('a.log.2.gz', 1000);
  log.write('a.log.1.gz', gzipSync(lines(0, 10)));
  log.age('a.log.1.gz', 2000);
  const { lines: got, lost } = await log.read();
  assert.match(lost.join(), /cannot unfold \/var\/log\/a\.log\.2\.gz beyond \d+ bytes/);
  assert.ok(got.length > 2500, `${got.length} lines`);
  assert.deepEqual(got.slice(-10), expected(0, 10));
  assert.deepEqual((await log.read()).lost, []);
});

test('a newest copy that is damaged is told once, not in every run', async (t) => {
  const log = logFolder(t);
  log.write('a.log.1.gz', 'this is not gzip');
  assert.equal((await log.read()).lost.length, 1);
  assert.equal((await log.read()).lost.length, 0);
});

test('a copy whose command is missing is told, and the rest is read', async (t) => {
  const log = logFolder(t);
  log.write('a.log.1.xz', 'x');
  log.write('a.log', lines(0, 3));
  t.mock.method(System.prototype, 'which', async () => undefined);
  const { lines: got, lost } = await log.read();
  assert.deepEqual(got, expected(0, 3));
  assert.match(lost.join(), /a\.log\.1\.xz .*the command 'xz' is not installed/);
});

test('a stored cursor that is nonsense is told, and the log read from its start', async (t) => {
  const log = logFolder(t);
  log.write('a.log', lines(0, 3));
  const { lines: got, lost } = await log.read({ offset: 'far' });
  assert.deepEqual(got, expected(0, 3));
  assert.match(
    lost.join(),
    /a\.log: the stored position cannot be understood \(inode: .*reading from the start/,
  );
});

test('a line beyond 16 MiB is passed over and told, its neighbours are read', async (t) => {
  const log = logFolder(t);
  log.write('a.log', `before\n${'x'.repeat(17 * 1024 * 1024)}\nafter\n`);
  const { lines: got, lost } = await log.read();
  assert.deepEqual(got, ['before', 'after']);
  assert.match(lost.join(), /passed over a line of 17825792 bytes/);
});

test('a file that begins with the same record but for its time is another file', async (t) => {
  const record = (time: number): Buffer => {
    const bytes = Buffer.alloc(384);
    bytes.write('reboot', 44);
    bytes.writeInt32LE(time, 340);
    return bytes;
  };
  const log = logFolder(t);
  const offsets = async (cursor: unknown): Promise<unknown> => {
    const steps = [];
    let last = cursor;
    for await (const step of followBytes(log.system, LOG, cursor)) {
      const isChunk = 'bytes' in step;
      steps.push(isChunk ? [step.file.path, step.offset, step.bytes.length] : 'lost');
      last = isChunk ? step.cursorAt(step.offset + step.bytes.length) : step.cursor;
    }
    return { steps, last };
  };
  log.write('a.log', record(1));
  const { last } = (await offsets(undefined)) as { last: unknown };
  renameSync(log.at('a.log'), log.at('a.log.1'));
  log.write('a.log', Buffer.concat([record(2), record(3)]));
  assert.deepEqual(((await offsets(last)) as { steps: unknown }).steps, [[LOG, 0, 768]]);
});

test('a log rotated while it is read for real by logrotate loses and doubles nothing', async (t) => {
  const log = logFolder(t);
  const config = log.at('rotate.conf');
  writeFileSync(
    config,
    `${log.at('a.log')} {\n rotate 50\n size 1\n compress\n delaycompress\n create 0600\n}\n`,
    {
      mode: 0o600,
    },
  );
  if ((await new System().which('logrotate')) === undefined) {
    t.skip('left out: logrotate is not installed');
    return;
  }
  const got: string[] = [];
  for (let round = 0; round < 6; round++) {
    appendFileSync(log.at('a.log'), lines(round * 20, round * 20 + 10));
    if (round % 2 === 0) got.push(...(await log.read()).lines);
    appendFileSync(log.at('a.log'), lines(round * 20 + 10, round * 20 + 20));
    execFileSync('logrotate', ['-f', '-s', log.at('state'), config]);
  }
  const last = await log.read();
  assert.deepEqual([...got, ...last.lines], expected(0, 120));
  assert.deepEqual(last.lost, []);
  assert.ok(readFileSync(log.at('a.log.1')).length > 0);
});

test('a log exists when only a rotated copy does', async (t) => {
  const log = logFolder(t);
  assert.equal(await hasLog(log.system, LOG), false);
  log.write('a.log.1.gz', gzipSync('x'));
  assert.equal(await hasLog(log.system, LOG), true);
});
