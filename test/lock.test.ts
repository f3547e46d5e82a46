import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { DsacError } from '../src/errors.ts';
import { takeLock } from '../src/lock.ts';
import { temporary } from './helpers/tree.ts';

test('a lock has one holder, and is free again when released', (t) => {
  const path = join(temporary(t), 'deep/lock');
  const first = takeLock(path);
  assert.ok(first);
  assert.equal(takeLock(path), undefined);
  first.release();
  using again = takeLock(path);
  assert.ok(again);
});

test('a lock file that holds something else is an error that says what to do', (t) => {
  const path = join(temporary(t), 'lock');
  writeFileSync(path, 'not a lock '.repeat(100));
  assert.throws(
    () => takeLock(path),
    (error) => error instanceof DsacError && error.kind === 'io' && /removed/.test(error.hint ?? ''),
  );
});

test('a full disk does not keep a lock from being taken, so that what fills it can be sent', {
  skip: process.getuid?.() !== 0 && 'left out: mounting a small file system needs root',
}, (t) => {
  const disk = join(temporary(t), 'disk');
  mkdirSync(disk);
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=16k', 'tmpfs', disk]).status !== 0) {
    t.skip('left out: a tmpfs cannot be mounted here');
    return;
  }
  try {
    writeFileSync(join(disk, 'lock'), '');
    assert.throws(() => writeFileSync(join(disk, 'filler'), Buffer.alloc(64 * 1024)), /ENOSPC/);
    const lock = takeLock(join(disk, 'lock'));
    assert.ok(lock);
    lock.release();
  } finally {
    spawnSync('umount', ['--lazy', disk]);
  }
});
