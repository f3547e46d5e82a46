import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import packageHistory from '../../agents/package-history.ts';
import { collectEntries, lastCursor } from '../helpers/sources.ts';

/** A package of a few kilobytes that nothing depends on. */
const PACKAGE = 'hello';

/** Installs and removes the package with apt; the reason when that cannot be done here. */
function installAndRemove(t: TestContext, mark: string): string | undefined {
  if (process.getuid?.() !== 0) return 'not root';
  if (!existsSync('/usr/bin/apt-get')) return 'no apt-get';
  if (spawnSync('dpkg-query', ['-W', PACKAGE]).status === 0) return `${PACKAGE} is installed already`;
  const apt = (...args: string[]): ReturnType<typeof spawnSync> =>
    spawnSync('apt-get', ['-o', `DSAC::Test=${mark}`, '-o', 'DPkg::Lock::Timeout=60', '-y', ...args], {
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
      encoding: 'utf8',
    });
  t.after(() => void apt('purge', PACKAGE));
  const installed = apt('install', '--no-install-recommends', PACKAGE);
  if (installed.status !== 0)
    return `apt-get cannot install ${PACKAGE}: ${String(installed.stderr).trim().split('\n').at(-1)}`;
  assert.equal(apt('remove', PACKAGE).status, 0);
  return undefined;
}

test('a package installed and removed on this very machine shows with time, version and command', async (t) => {
  const before = await collectEntries(packageHistory);
  const mark = `m${process.pid}`;
  const began = Math.floor(Date.now() / 1000) * 1000;
  const reason = installAndRemove(t, mark);
  if (reason !== undefined) {
    t.skip(`left out: ${reason}`);
    return;
  }
  const cursors = { apt: lastCursor(before.got.apt), dpkg: lastCursor(before.got.dpkg) };
  const { got } = await collectEntries(packageHistory, { cursors });
  const arch = execFileSync('dpkg', ['--print-architecture'], { encoding: 'utf8' }).trim();
  const of = (source: string) =>
    (got[source] ?? []).flatMap(({ event }) => (event?.item === `dpkg/${PACKAGE}/${arch}` ? [event] : []));
  for (const source of ['apt', 'dpkg']) {
    const events = of(source);
    assert.deepEqual(
      events.map(({ action }) => action),
      ['installed', 'removed'],
      source,
    );
    assert.equal(events[0]!.after!.version, events[1]!.before!.version);
    for (const { time } of events)
      assert.ok(Date.parse(time) >= began && Date.parse(time) <= Date.now(), time);
  }
  for (const { by } of of('apt')) assert.match(by!.command!, new RegExp(`^apt-get -o DSAC::Test=${mark} `));
});
