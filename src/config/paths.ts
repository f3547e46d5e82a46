import { join, resolve } from 'node:path';

/** Where DSAC keeps its own files. Every path hangs below one injectable root, so all of it runs unprivileged. */
export interface Paths {
  /** The root itself, absolute; `/` on an installed system. */
  readonly home: string;
  /** `etc/dsac`: configuration and the node's identity. */
  readonly etc: string;
  /** `var/spool/dsac/out`: the node's spool. */
  readonly out: string;
  /** `var/spool/dsac/in`: the central spool. */
  readonly in: string;
  /** `var/lib/dsac`: state that must survive (baselines, cursors, store, archive). */
  readonly lib: string;
  /** `var/log/dsac`. */
  readonly log: string;
}

/** Lays DSAC's directories out below `home` (a relative one is taken from the working directory). */
export function pathsBelow(home: string): Paths {
  const root = resolve(home);
  return {
    home: root,
    etc: join(root, 'etc/dsac'),
    out: join(root, 'var/spool/dsac/out'),
    in: join(root, 'var/spool/dsac/in'),
    lib: join(root, 'var/lib/dsac'),
    log: join(root, 'var/log/dsac'),
  };
}
