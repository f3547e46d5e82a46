import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdirSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { DsacError } from '../../src/errors.ts';
import { trustedExecutable } from '../../src/plugin/executable.ts';
import { temporary } from '../helpers/tree.ts';

/** `<temporary>/above/folder/program`, all of it safe. */
function program(t: TestContext): { above: string; folder: string; file: string } {
  const above = join(realpathSync(temporary(t)), 'above');
  const folder = join(above, 'folder');
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  const file = join(folder, 'program');
  writeFileSync(file, '#!/bin/sh\n', { mode: 0o755 });
  return { above, folder, file };
}

async function refusal(path: string): Promise<{ message: string; hint: string | undefined }> {
  try {
    await trustedExecutable(path);
  } catch (error) {
    assert.ok(error instanceof DsacError && error.kind === 'config', String(error));
    return { message: error.message, hint: error.hint };
  }
  return assert.fail(`${path} was trusted`);
}

test('an executable that only we can change is trusted, below a sticky /tmp too', async (t) => {
  const { file } = program(t);
  assert.equal(await trustedExecutable(file), file);
});

test('what others may change is refused, with where and what to do', async (t) => {
  for (const mode of [0o775, 0o757]) {
    for (const part of ['above', 'folder', 'file'] as const) {
      const made = program(t);
      chmodSync(made[part], mode);
      assert.deepEqual(await refusal(made.file), {
        message: `refusing to run ${made.file}: ${made[part]} is writable by others than its owner (mode 0${mode.toString(8)})`,
        hint: `chmod go-w ${made[part]}`,
      });
    }
  }
});

test('a folder like /tmp protects folders in it, but is no place for the executable itself', async (t) => {
  const { above, folder, file } = program(t);
  chmodSync(above, 0o1777);
  assert.equal(await trustedExecutable(file), file);
  chmodSync(folder, 0o1777);
  assert.match((await refusal(file)).message, /folder is writable by others/);
});

test('what belongs to someone else is refused', {
  skip: process.getuid?.() !== 0 && 'left out: only root can give files away',
}, async (t) => {
  for (const part of ['above', 'folder', 'file'] as const) {
    const made = program(t);
    chownSync(made[part], 65534, 65534);
    assert.match((await refusal(made.file)).message, new RegExp(`${made[part]} is owned by uid 65534`));
  }
});

test('a symbolic link does not lead around the rules', async (t) => {
  const { folder, file } = program(t);
  const link = join(realpathSync(temporary(t)), 'link');
  symlinkSync(file, link);
  assert.equal(await trustedExecutable(link), file);
  chmodSync(folder, 0o777);
  assert.match((await refusal(link)).message, /folder is writable by others/);
});

test('what cannot be run is refused before it is tried', async (t) => {
  const { folder, file } = program(t);
  chmodSync(file, 0o644);
  assert.match((await refusal(file)).message, /not executable/);
  assert.match((await refusal(folder)).message, /is not a file/);
  assert.match((await refusal(join(folder, 'none'))).message, /none does not exist/);
  assert.match(
    (await refusal(join(file, 'x'))).message,
    /is not a folder|does not exist|cannot be looked at/,
  );
  assert.match((await refusal('program')).message, /absolute path/);
  const loop = join(folder, 'loop');
  symlinkSync('loop', loop);
  assert.match((await refusal(loop)).message, /too many symbolic links/);
});
