import assert from 'node:assert/strict';
import { test } from 'node:test';
import { System } from '../../../src/host/system.ts';
import { dpkgPackages, parseDpkgQuery } from '../../../src/source/packages/dpkg.ts';
import { tree } from '../../helpers/tree.ts';

const RECORD = {
  P: 'libc6',
  A: 'amd64',
  V: '2.36-9+deb12u1',
  S: 'install ok installed',
  o: 'glibc',
  O: '2.36-9+deb12u1',
  I: '12987',
  m: 'GNU Libc Maintainers <glibc@example.invalid>',
  t: '1795402880',
  T: 'GNU C Library: Shared libraries',
};

function record(changes: Partial<typeof RECORD> = {}): string {
  const lines = Object.entries({ ...RECORD, ...changes }).map(([tag, value]) => `${tag}:${value}\n`);
  return `${lines.join('')}\n`;
}

function parse(...records: string[]) {
  return parseDpkgQuery(Buffer.from(records.join(''), 'latin1'));
}

test('reads every field, sizes in bytes and times in UTC', () => {
  assert.deepEqual(parse(record()), [
    {
      name: 'libc6',
      arch: 'amd64',
      fields: {
        version: '2.36-9+deb12u1',
        source: 'glibc',
        status: 'installed',
        want: 'install',
        size: 13_298_688,
        maintainer: 'GNU Libc Maintainers <glibc@example.invalid>',
        installed: '2026-11-23T03:01:20.000Z',
        summary: 'GNU C Library: Shared libraries',
      },
    },
  ]);
});

test('a field that is empty is left out; an architecture that is empty is none', () => {
  const [one] = parse(record({ A: '', V: '', O: '', I: '', m: '', t: '', T: '' }));
  assert.equal(one!.arch, 'none');
  assert.deepEqual(one!.fields, { source: 'glibc', status: 'installed', want: 'install' });
});

test('the source’s version shows only where it differs, as in a binary-only rebuild', () => {
  const [one] = parse(record({ V: '3.2.5-1+b1', O: '3.2.5-1' }));
  assert.equal(one!.fields.source_version, '3.2.5-1');
});

test('state, selection and the reinstallation flag are told apart', () => {
  const states = ['deinstall ok config-files', 'hold ok installed', 'install reinstreq half-installed'];
  const read = parse(...states.map((S) => record({ S }))).map(({ fields }) => [
    fields.want,
    fields.reinst_required,
    fields.status,
  ]);
  assert.deepEqual(read, [
    ['deinstall', undefined, 'config-files'],
    ['hold', undefined, 'installed'],
    ['install', true, 'half-installed'],
  ]);
});

test('a removed package has no time of installation: its file list was written by the removal', () => {
  const [one] = parse(record({ S: 'deinstall ok config-files' }));
  assert.equal(one!.fields.installed, undefined);
});

test('a folded or hostile field cannot forge another package', () => {
  const [one, ...others] = parse(
    record({ m: 'M\n <m@example.invalid>\n P:forged', T: 'esc \x1b[31m na\xefve' }),
  );
  assert.equal(others.length, 0);
  assert.equal(one!.name, 'libc6');
  assert.equal(one!.fields.maintainer, 'M\n <m@example.invalid>\n P:forged');
  assert.equal(one!.fields.summary, 'esc \x1b[31m na\\xefve');
});

test('output cut in the middle, or a record without name or status, is refused', () => {
  assert.throws(() => parse(record(), record().slice(0, 60)), /dpkg-query: it was cut: .* begins in line 12/);
  assert.throws(() => parse(record({ P: '' })), /without name or status/);
  assert.throws(() => parse(record({ S: '' })), /without name or status: 'libc6'/);
});

test('a status file that was emptied beside the file lists of packages fails, it is not an unused dpkg', async (t) => {
  if ((await new System('/').which('dpkg-query')) === undefined)
    return t.skip('left out: no dpkg-query here');
  const root = tree(t, { 'var/lib/dpkg/status': '', 'var/lib/dpkg/info/openssl.list': '/.\n' });
  await assert.rejects(
    dpkgPackages({ system: new System(root), signal: AbortSignal.timeout(10_000), restsOn() {} }),
    /status holds no packages, but .*info has the file lists of 1/,
  );
});
