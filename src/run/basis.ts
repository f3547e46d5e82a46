/**
 * Tells whether an agent has anything to read. A reading whose sources all said that they rest on files alone (`restsOn`) leaves its basis with the
 * state; a later run that finds the same files, under the same settings and the same DSAC, takes what it would read as read. Where anything is in
 * doubt there is no basis, and the agent reads.
 */
import { type Stamp, stamp } from '../host/stamp.ts';
import type { System } from '../host/system.ts';
import type { AgentContext } from '../plugin/agent.ts';
import { canonical } from '../spool/canonical.ts';
import type { Identity } from './identity.ts';
import type { SourceOutcome } from './sources.ts';
import type { Basis } from './state.ts';

/**
 * How long a file must have been at rest when it is stamped, in ms: within the grain of a file system's clock (a tick of the kernel, two seconds on the
 * coarsest) it may change again without another time to show for it.
 */
const REST = 2000;

/** What beside its files decides what an agent reads. */
export interface Circumstances {
  /** This build of DSAC: another one may read the same files in another way. */
  readonly build: string;
  /** The agent's type, options and sources. */
  readonly settings: unknown;
}

/** Names the circumstances. Keyed, so that it is another one with another secret, which digests of items are made with. */
export function circumstances(identity: Identity, { build, settings }: Circumstances): string {
  return identity.digest(canonical({ build, settings, user: process.geteuid?.() }));
}

/** Gathers what the sources of one reading say that they rest on. */
export class Resting {
  readonly #rests = new Map<string, { readonly stamp: Stamp; readonly until: Date | undefined }>();

  /** The context that a source is to be called with. */
  contextOf(context: AgentContext, source: string): AgentContext {
    return { ...context, restsOn: (files, until) => this.#rests.set(source, { stamp: files, until }) };
  }

  /** The basis of the reading; null when it has none that could be trusted. `now`: when it began. */
  basis(by: string, now: Date, sources: readonly SourceOutcome[], items?: number): Basis | null {
    const stamps: Basis['stamps'] = [];
    const fared: Basis['sources'] = [];
    let until = Number.POSITIVE_INFINITY;
    for (const { name, status, reason, ...counts } of sources) {
      const rest = this.#rests.get(name);
      if (status === 'failed' || !rest || rest.stamp.changed > now.getTime() - REST) return null;
      stamps.push({ paths: [...rest.stamp.paths], sha256: rest.stamp.sha256 });
      fared.push({ name, status, ...(reason === undefined ? {} : { reason }), ...counts });
      until = Math.min(until, rest.until?.getTime() ?? until);
    }
    return {
      by,
      time: now.toISOString(),
      until: until === Number.POSITIVE_INFINITY ? null : new Date(until).toISOString(),
      stamps,
      sources: fared,
      ...(items === undefined ? {} : { items }),
    };
  }
}

/** Whether all that a reading rests on is as it was. */
export async function holds(basis: Basis, by: string, now: Date, system: System): Promise<boolean> {
  if (basis.by !== by) return false;
  const time = now.toISOString();
  // A clock that went back may be before a moment that has been passed.
  if (time < basis.time || (basis.until !== null && time >= basis.until)) return false;
  // Sources of one agent often rest on the same files.
  const seen = new Map<string, string>();
  for (const { paths, sha256 } of basis.stamps) {
    const key = paths.join('\0');
    const found = seen.get(key) ?? (await stamp(system, paths)).sha256;
    if (found !== sha256) return false;
    seen.set(key, found);
  }
  return true;
}

/** How the sources of a run fared that took them as read: as then, with nothing new to tell. */
export function asBefore({ sources }: Basis): SourceOutcome[] {
  return sources.map(({ events, ...source }) => ({
    ...source,
    ...(events === undefined ? {} : { events: 0 }),
  })) as SourceOutcome[];
}
