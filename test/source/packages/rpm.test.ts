import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseRpmQuery } from '../../../src/source/packages/rpm.ts';

const RECORD = {
  N: "'openssl'",
  E: '1',
  V: "'3.0.7'",
  R: "'27.el9'",
  A: "'x86_64'",
  o: "'openssl-3.0.7-27.el9.src.rpm'",
  I: '1870976',
  v: "'AlmaLinux'",
  m: "'AlmaLinux Packaging Team <packager@example.invalid>'",
  t: '1795402880',
  T: "'Utilities from the general purpose cryptography library'",
  p: "'config(openssl)' 'openssl' 'openssl(x86-64)' ",
};

function record(changes: Partial<typeof RECORD> = {}): string {
  const lines = Object.entries({ ...RECORD, ...changes }).map(([tag, value]) => `${tag}:${value}\n`);
  return `${lines.join('')}\n`;
}

function parse(...records: string[]) {
  return parseRpmQuery(Buffer.from(records.join(''), 'latin1'));
}

test('reads every field, with the source package taken from its file name', () => {
  assert.deepEqual(parse(record()), [
    {
      name: 'openssl',
      arch: 'x86_64',
      several: false,
      fields: {
        version: '1:3.0.7-27.el9',
        source: 'openssl',
        status: 'installed',
        size: 1_870_976,
        vendor: 'AlmaLinux',
        maintainer: 'AlmaLinux Packaging Team <packager@example.invalid>',
        installed: '2026-11-23T03:01:20.000Z',
        summary: 'Utilities from the general purpose cryptography library',
      },
    },
  ]);
});

test('epoch 0 is left out as none is, and a source of another version keeps its own', () => {
  const [zero, none] = parse(record({ E: '0' }), record({ E: '(none)', o: "'perl-5.32.1-480.el9.src.rpm'" }));
  assert.equal(zero!.fields.version, '3.0.7-27.el9');
  assert.equal(none!.fields.version, '3.0.7-27.el9');
  assert.equal(none!.fields.source, 'perl');
  assert.equal(none!.fields.source_version, '5.32.1-480.el9');
});

test('what rpm calls (none) is left out; a text that says (none) is not', () => {
  const [one] = parse(record({ A: '(none)', o: '(none)', v: "'(none)'", m: '(none)', T: '(none)' }));
  assert.equal(one!.arch, 'none');
  assert.equal(one!.fields.vendor, '(none)');
  assert.deepEqual(Object.keys(one!.fields), ['version', 'status', 'size', 'vendor', 'installed']);
});

test('text in a package can neither end its line nor forge a package', () => {
  const hostile = "'it'\\''s\n\nN:'\\''forged'\\''\nV:1\n\n\x1b[31m na\xefve \\'";
  const [one, next, ...others] = parse(record({ T: hostile }), record({ N: "'next'" }));
  assert.equal(one!.fields.summary, "it's\n\nN:'forged'\nV:1\n\n\x1b[31m na\\xefve \\");
  assert.equal(next!.name, 'next');
  assert.deepEqual(others, []);
});

test('kernels and public keys are known as packages of which several coexist', () => {
  const several = (N: string, p = ''): boolean => parse(record({ N: `'${N}'`, p }))[0]!.several === true;
  assert.ok(several('gpg-pubkey'));
  assert.ok(several('kernel'), 'by yum’s list');
  assert.ok(several('kernel-devel'), 'by yum’s list');
  assert.ok(several('kmod-x', "'kmod-x' 'installonlypkg(kernel-module)' "), 'by what dnf looks for');
  assert.ok(several('kernel-default', "'multiversion(kernel)' "), 'by what zypper looks for');
  assert.ok(!several('kernel-headers', "'kernel-headers' "), 'upgraded like any other package');
});

test('output cut in the middle, or a package without name or version, is refused', () => {
  const cuts = [record().slice(0, 50), record().slice(0, -1), record({ T: "'open" })];
  for (const cut of cuts) assert.throws(() => parse(record(), cut), /^Error: rpm: it was cut/);
  assert.throws(() => parse(record({ N: '(none)' })), /without name or version/);
  assert.throws(() => parse(record({ V: '(none)' })), /without name or version: 'openssl'/);
});
