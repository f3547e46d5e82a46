/** File systems of a fault's own, mounted for as long as it runs. */
import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, existsSync, ftruncateSync, mkdirSync, openSync } from 'node:fs';
import { installed } from '../helpers/private-services.ts';
import type { Scope } from './fault.ts';

/** Why nothing can be mounted here, or undefined. */
export function lacksMount(): string | undefined {
  if (process.getuid?.() !== 0) return 'mounting needs root';
  return installed('mount') === undefined ? 'mount is not installed' : undefined;
}

/** Why no image can be mounted here, or undefined. */
export function lacksLoop(): string | undefined {
  const why = lacksMount();
  if (why !== undefined) return why;
  if (installed('mkfs.ext4') === undefined) return 'mkfs.ext4 is not installed';
  return existsSync('/dev/loop-control') ? undefined : 'there are no loop devices';
}

/** Runs a command that must succeed. */
export function sh(command: string, ...args: string[]): void {
  execFileSync(installed(command) ?? command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

/** Unmounts what is mounted there; nothing when there is nothing. */
export function unmount(path: string): void {
  spawnSync(installed('umount') ?? 'umount', [path], { stdio: 'ignore' });
}

/** Mounts a tmpfs with these options (`size=2m,nr_inodes=200`); it goes when the fault ends. */
export function mountTmpfs(scope: Pick<Scope, 'defer'>, path: string, options: string): void {
  mkdirSync(path, { recursive: true });
  sh('mount', '-t', 'tmpfs', '-o', options, 'dsac-torture', path);
  scope.defer(() => unmount(path));
}

/** Makes an ext4 file system of `bytes` in a file. */
export function makeExt4(image: string, bytes: number): void {
  const file = openSync(image, 'w');
  ftruncateSync(file, bytes);
  closeSync(file);
  sh('mkfs.ext4', '-q', '-F', image);
}

/**
 * Mounts an image. `noauto_da_alloc` and `data=writeback` take away what ext4 does for programs that forget to sync, and `commit` keeps it from
 * writing by itself meanwhile (ext4(5)).
 */
export function mountImage(image: string, path: string): void {
  sh('mount', '-o', 'loop,noauto_da_alloc,data=writeback,commit=300', image, path);
}
