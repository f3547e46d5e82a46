/**
 * dpkg.log: what dpkg set out to do (`install`, `upgrade`, `remove`, `purge`, `disappear`) and each state that a package reached. A change is told when
 * the state is reached that makes it true, with that line's time: `installed` (or waiting for triggers only) in the new version, `config-files`
 * or `not-installed` after a removal, `not-installed` after a purge. `upgrade` is also dpkg's word for downgrades and reinstallations; a reinstallation that it
 * gave up ends in the version wanted too, but was never configured.
 *
 * A change that is not complete when dpkg's next run begins has failed, except that a package left `unpacked` waits for a later run to configure it, and
 * fails when a day has passed. A failed change that a later run completes is told then. dpkg does not say who ran it.
 */
import * as z from 'zod';
import { text } from '../../host/text.ts';
import type { LocalClock } from '../localtime.ts';
import { compareDpkg } from '../packages/version.ts';
import {
  changeEvent,
  type HistoryAction,
  type HistoryEvent,
  type HistoryParser,
  isStale,
} from './packagehistory.ts';

const PATH = '/var/log/dpkg.log';
const LINE = /^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) ([a-z]+) (.+)$/;
const INSTALLED = new Set(['installed', 'triggers-awaited', 'triggers-pending']);
const NO_VERSION = '<none>';

const pendingSchema = z.strictObject({
  action: z.enum(['install', 'upgrade', 'remove', 'purge']).describe('what dpkg set out to do'),
  from: z.string().optional().describe('version before'),
  to: z.string().optional().describe('version wanted'),
  time: z.string().describe('time of the last line about it'),
  status: z.string().describe('state reached so far; empty when none'),
  failed: z.boolean().describe('whether its failure was told'),
  configured: z.literal(true).optional().describe('whether dpkg set out to configure what it unpacked'),
});

type Pending = z.infer<typeof pendingSchema>;

const stateSchema = z.strictObject({
  pending: z.record(z.string(), pendingSchema).describe('changes under way, by package'),
});

type State = z.infer<typeof stateSchema>;

function version(word: string | undefined): string | undefined {
  return word === undefined || word === NO_VERSION || word === '' ? undefined : word;
}

/** What dpkg set out to do. An `install` over a removed package's configuration names that version too, but nothing was installed before. */
function undertaking(
  action: string,
  time: string,
  old: string | undefined,
  wanted: string | undefined,
): Pending | undefined {
  const rest = { time, status: '', failed: false };
  switch (action) {
    case 'install':
      return { action, ...(wanted && { to: wanted }), ...rest };
    case 'upgrade':
      return { action, ...(old && { from: old }), ...(wanted && { to: wanted }), ...rest };
    case 'remove':
    case 'purge':
      return { action, ...(old && { from: old }), ...rest };
    case 'disappear':
      return { action: 'remove', ...(old && { from: old }), ...rest };
    default:
      return undefined;
  }
}

/** What became true now that the package is in `status` with version `at`; undefined while the change is still under way. */
function outcome(pending: Pending, status: string, at: string | undefined): HistoryAction | undefined {
  if (pending.action === 'purge') return status === 'not-installed' ? 'purged' : undefined;
  if (pending.action === 'remove') {
    if (status === 'config-files' || status === 'not-installed') return 'removed';
    return status === 'installed' ? 'failed' : undefined;
  }
  if (status === 'not-installed' || status === 'config-files') return 'failed';
  if (!INSTALLED.has(status)) return undefined;
  if (pending.to !== undefined && at !== pending.to) return status === 'installed' ? 'failed' : undefined;
  const isGivenUp = pending.from === pending.to && !pending.configured;
  if (pending.action === 'upgrade' && isGivenUp) return 'failed';
  return pending.action === 'install' ? 'installed' : replaced(pending);
}

function replaced({ from = '', to = '' }: Pending): HistoryAction {
  const order = compareDpkg(from, to);
  return order === 0 ? 'reinstalled' : order < 0 ? 'upgraded' : 'downgraded';
}

function eventOf(key: string, pending: Pending, action: HistoryAction): HistoryEvent {
  const [, name = key, arch] = /^(.*?)(?::([^:]*))?$/s.exec(key) ?? [];
  const { time, from, to, status } = pending;
  const fields =
    action === 'failed'
      ? { error: `${pending.action} left the package ${status || 'as it was'}`, status: status || undefined }
      : {};
  return changeEvent({ time, action, manager: 'dpkg', name, arch, from, to, fields });
}

/** Tells as failed, once each, what matches and has not been told. */
function tellFailed(state: State, matches: (pending: Pending) => boolean): HistoryEvent[] {
  const events: HistoryEvent[] = [];
  for (const [key, pending] of Object.entries(state.pending)) {
    if (pending.failed || !matches(pending)) continue;
    pending.failed = true;
    events.push(eventOf(key, pending, 'failed'));
  }
  return events;
}

/**
 * A package that changes its architecture (`all` to `amd64`) is begun under the one and goes on under the other: with `unpacked` in the version wanted,
 * while the old one is half-installed, as one package at a time is.
 */
function changeArchitecture(state: State, [status, key = '', at]: readonly string[]): void {
  if (status !== 'unpacked' || Object.hasOwn(state.pending, key)) return;
  const name = key.replace(/:.*/s, '');
  for (const [other, pending] of Object.entries(state.pending)) {
    const isBegun = pending.status === 'half-installed' && pending.to === version(at);
    if (!isBegun || !other.startsWith(`${name}:`)) continue;
    delete state.pending[other];
    state.pending[key] = pending;
    return;
  }
}

/** Another package's trigger may mark a package before the work on it has begun: that is no step of its change. */
function reach(state: State, time: string, words: readonly string[]): HistoryEvent[] {
  changeArchitecture(state, words);
  const [status = '', key = '', at] = words;
  const pending = Object.hasOwn(state.pending, key) ? state.pending[key] : undefined;
  const isOther = pending?.status === '' && status.startsWith('triggers-');
  if (pending === undefined || isOther) return [];
  Object.assign(pending, { time, status });
  const action = outcome(pending, status, version(at));
  if (action === undefined) return [];
  delete state.pending[key];
  return action === 'failed' && pending.failed ? [] : [eventOf(key, pending, action)];
}

/** Understands dpkg.log. */
export function dpkgLog(clock: LocalClock): HistoryParser<State> {
  return {
    source: 'dpkg',
    path: PATH,
    state: stateSchema,
    begin: () => ({ pending: {} }),
    line(state, line) {
      const [, wall = '', word = '', rest = ''] = LINE.exec(text(line)) ?? [];
      const time = clock.parse(wall);
      if (time === undefined) return [];
      if (word === 'startup') return tellFailed(state, ({ status }) => status !== 'unpacked');
      const words = rest.split(' ');
      if (word === 'status') return reach(state, time, words);
      const [key = '', old, wanted] = words;
      if (word === 'configure' && Object.hasOwn(state.pending, key)) state.pending[key]!.configured = true;
      const pending = undertaking(word, time, version(old), version(wanted));
      if (pending === undefined) return [];
      const given = tellFailed(state, (other) => other === state.pending[key]);
      state.pending[key] = pending;
      return given;
    },
    settle: (state, now) => tellFailed(state, ({ time }) => isStale(time, now)),
  };
}
