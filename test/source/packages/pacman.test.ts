import assert from 'node:assert/strict';
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { System } from '../../../src/host/system.ts';
import { SourceAbsent } from '../../../src/plugin/agent.ts';
import type { Package } from '../../../src/source/packages/package.ts';
import { pacmanPackages, parsePacmanDesc } from '../../../src/source/packages/pacman.ts';
import { fixtures, temporary, tree } from '../../helpers/tree.ts';

const real = join(fixtures, 'pacman/lab-alpha-local');
const DIRECTORY = 'alpha-a-1:0.9-1';

function packagesIn(root: string): Promise<Package[]> {
  return pacmanPackages({ system: new System(root), signal: AbortSignal.timeout(10_000), restsOn() {} });
}

function database(t: TestContext): { root: string; local: string } {
  const root = temporary(t);
  const local = join(root, 'var/lib/pacman/local');
  cpSync(real, local, { recursive: true });
  return { root, local };
}

test('reads every field of a real package', () => {
  assert.deepEqual(parsePacmanDesc(readFileSync(join(real, DIRECTORY, 'desc')), DIRECTORY), {
    name: 'alpha-a',
    arch: 'any',
    fields: {
      version: '1:0.9-1',
      source: 'alpha-a',
      status: 'installed',
      size: 100,
      maintainer: 'DSAC Fixture <f@example.invalid>',
      installed: '2026-11-23T03:02:03.000Z',
      summary: 'fixture alpha-a',
    },
  });
});

test('a desc cut anywhere but between sections is refused', () => {
  const whole = readFileSync(join(real, DIRECTORY, 'desc'), 'latin1');
  const ends = [...whole.matchAll(/\n\n/g)].map(({ index }) => index + 2);
  for (let length = 1; length < whole.length; length++) {
    if (ends.includes(length)) continue;
    const cut = Buffer.from(whole.slice(0, length), 'latin1');
    assert.throws(() => parsePacmanDesc(cut, DIRECTORY), Error, `cut at byte ${length}`);
  }
});

test('a value that looks like a section does not begin one', () => {
  const desc = '%NAME%\na\n\n%VERSION%\n1-1\n\n%DESC%\n%NAME%\nforged\n\n';
  assert.equal(parsePacmanDesc(Buffer.from(desc), 'a-1-1').fields.summary, '%NAME%');
});

test('a directory without desc fails with its path, rather than leave a package out', async (t) => {
  const { root, local } = database(t);
  rmSync(join(local, DIRECTORY, 'desc'));
  await assert.rejects(packagesIn(root), /no \/var\/lib\/pacman\/local\/alpha-a-1:0\.9-1\/desc/);
});

test('an empty desc, or one of another package, fails with its path', async (t) => {
  const { root, local } = database(t);
  const desc = join(local, DIRECTORY, 'desc');
  writeFileSync(desc, '');
  await assert.rejects(packagesIn(root), /alpha-a-1:0\.9-1\/desc: it is empty/);
  cpSync(join(local, 'alpha-new-3-1/desc'), desc);
  await assert.rejects(
    packagesIn(root),
    /desc: expected name and version of 'alpha-a-1:0\.9-1', found 'alpha-new' and '3-1'/,
  );
});

test('a database version that is not known fails, instead of being guessed at', async (t) => {
  const { root, local } = database(t);
  writeFileSync(join(local, 'ALPM_DB_VERSION'), '10\n');
  await assert.rejects(packagesIn(root), /ALPM_DB_VERSION: expected 9, found '10'/);
});

test('no database is absent', async (t) => {
  await assert.rejects(packagesIn(tree(t, {})), SourceAbsent);
});
