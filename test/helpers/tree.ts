/** Builds a machine's file tree in a temporary folder, for agents to look at through `--rootfs`. */
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';

/** The project's own fixtures. */
export const fixtures: string = fileURLToPath(new URL('../fixtures', import.meta.url));

/** Real files of other projects, which stay outside this one: undefined where that folder does not exist. */
export const sharedFixtures: string | undefined = [new URL('../../../shared/fixtures', import.meta.url)]
  .map((url) => fileURLToPath(url))
  .find((path) => existsSync(path));

/** A temporary folder that goes when the test ends. */
export function temporary(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'dsac-test-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** What a tree file holds: text or bytes, or `{ from }`, a file or folder to copy (relative to the project's fixtures, or absolute). */
export type TreeFile = string | Uint8Array | { readonly from: string };

/** Lays out files below `root`: `{ 'var/log/dpkg.log': { from: 'dpkg/lab12.dpkg.log' } }`. */
export function layOut(root: string, files: Readonly<Record<string, TreeFile>>): void {
  for (const [path, content] of Object.entries(files)) {
    const target = join(root, path);
    mkdirSync(dirname(target), { recursive: true });
    if (typeof content === 'object' && 'from' in content) {
      cpSync(content.from.startsWith('/') ? content.from : join(fixtures, content.from), target, {
        recursive: true,
      });
    } else writeFileSync(target, content);
  }
}

/** A temporary tree with these files; it goes when the test ends. */
export function tree(t: TestContext, files: Readonly<Record<string, TreeFile>>): string {
  const root = temporary(t);
  layOut(root, files);
  return root;
}

/** The path of a fixture outside the project, or undefined after saying on the test's output that it was left out. */
export function sharedFixture(t: TestContext, path: string): string | undefined {
  const full = sharedFixtures === undefined ? undefined : join(sharedFixtures, path);
  if (full !== undefined && existsSync(full)) return full;
  t.skip(`left out: ../shared/fixtures/${path} is not here`);
  return undefined;
}
