/** File systems of a size that a test can fill. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

/** Mounts an empty file system of memory with these options (`size=1m`, `nr_inodes=60`); undefined after saying why the test is left out. */
export function smallDisk(t: TestContext, options: string): string | undefined {
  const path = mkdtempSync(join(tmpdir(), 'dsac-test-disk-'));
  t.after(() => {
    spawnSync('umount', ['--lazy', path]);
    rmSync(path, { recursive: true, force: true });
  });
  const { status, stderr } = spawnSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', path], {
    encoding: 'utf8',
  });
  if (status !== 0) {
    t.skip(`left out: a file system to fill cannot be mounted here: ${stderr?.trim() || 'no mount command'}`);
    return undefined;
  }
  return path;
}

/** Fills what is left of a file system, but for `but` bytes or inodes; answers what makes room again. */
export function fill(disk: string, what: 'bytes' | 'inodes', but = 0): () => void {
  const { bavail, bsize, ffree } = statfsSync(disk);
  const folder = join(disk, 'ballast');
  mkdirSync(folder);
  if (what === 'bytes') writeFileSync(join(folder, 'bytes'), Buffer.alloc(Math.max(0, bavail * bsize - but)));
  else for (let n = 1; n < ffree - but; n++) writeFileSync(join(folder, String(n)), '');
  return () => rmSync(folder, { recursive: true });
}
