/** Installs Debian packages that tests need, as root, without starting a service of theirs. */
import { spawnSync } from 'node:child_process';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { installed } from './private-services.ts';

/** What Debian's maintainer scripts ask before they start a service; 101 forbids it (invoke-rc.d(8), deb-systemd-invoke(1p)). */
const POLICY = '/usr/sbin/policy-rc.d';

/** Runs `work` while no package may start a service; a policy that the machine has of its own stays as it is. */
function withoutStarting<T>(work: () => T): T {
  if (existsSync(POLICY)) return work();
  writeFileSync(POLICY, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    return work();
  } finally {
    rmSync(POLICY, { force: true });
  }
}

/** Installs these packages with apt-get; answers why that could not be, or undefined. What apt says goes to stderr. */
export function install(packages: readonly string[]): string | undefined {
  if (process.getuid?.() !== 0) return 'not root, so it cannot be installed';
  const apt = installed('apt-get');
  if (apt === undefined) return 'no apt-get, so it cannot be installed';
  const run = (...args: string[]): number | null =>
    spawnSync(apt, ['-q', '-o', 'DPkg::Lock::Timeout=120', ...args], {
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' },
      stdio: ['ignore', 2, 2],
    }).status;
  return withoutStarting(() => {
    run('update');
    const status = run('install', '-y', '--no-install-recommends', ...packages);
    return status === 0 ? undefined : `apt-get install ${packages.join(' ')}: exit ${status}`;
  });
}
