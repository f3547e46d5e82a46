import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseApkInstalled } from '../../../src/source/packages/apk.ts';
import { fixtures, sharedFixture } from '../../helpers/tree.ts';

const synthetic = readFileSync(join(fixtures, 'apk/synthetic.installed'));

test('reads every package with its origin, size in bytes and state', () => {
  const [busybox, , broken] = parseApkInstalled(synthetic);
  assert.deepEqual(busybox, {
    name: 'busybox',
    arch: 'x86_64',
    fields: {
      version: '1.36.1-r29',
      source: 'busybox',
      status: 'installed',
      size: 946_176,
      maintainer: 'Zoé Example <zoe@example.invalid>',
      summary: 'Size optimized toolbox of many common UNIX utilities',
    },
  });
  assert.equal(broken!.fields.status, 'broken', 'f:s says that a script failed');
});

test('a database cut anywhere but between packages is refused, never read as fewer packages', () => {
  const whole = synthetic.toString('latin1');
  const ends = [...whole.matchAll(/\n\n/g)].map(({ index }) => index + 2);
  for (let length = 1; length < whole.length; length++) {
    if (ends.includes(length)) continue;
    const cut = Buffer.from(whole.slice(0, length), 'latin1');
    assert.throws(() => parseApkInstalled(cut, 'installed'), /^Error: installed: /, `cut at byte ${length}`);
  }
});

test('a package without name or version is refused by name, not skipped', () => {
  assert.throws(
    () => parseApkInstalled(Buffer.from('P:a\nV:1-r0\n\nP:odd\nA:x\n\n'), 'db'),
    /db: a package without version \(V:\): odd/,
  );
  assert.throws(() => parseApkInstalled(Buffer.from('V:1-r0\n\n'), 'db'), /db: a package without name/);
});

test('two packages run together, as when an empty line is lost, are refused', () => {
  const merged = synthetic.toString().replace('\n\n', '\n');
  assert.throws(() => parseApkInstalled(Buffer.from(merged)), /a second [A-Z]: in one record/);
});

test('reads a real database of Wolfi', (t) => {
  const path = sharedFixture(t, 'apk/apko.installed');
  if (path === undefined) return;
  const packages = parseApkInstalled(readFileSync(path));
  assert.equal(packages.length, 14);
  const versions = Object.fromEntries(packages.map(({ name, fields }) => [name, fields.version]));
  assert.equal(versions.musl, '1.2.3-r0');
});

test('refuses a real database of Alpine that was cut and lost a version', (t) => {
  const path = sharedFixture(t, 'apk/trivy.installed');
  if (path === undefined) return;
  const whole = readFileSync(path);
  assert.throws(() => parseApkInstalled(whole), /without version \(V:\): invalidPackageWithoutAVersion/);
  const mended = whole.toString().replace('P:invalidPackageWithoutAVersion\n\n', '');
  assert.throws(() => parseApkInstalled(Buffer.from(mended)), /it was cut/);
  assert.equal(parseApkInstalled(Buffer.from(`${mended}\n\n`)).length, 15);
});
