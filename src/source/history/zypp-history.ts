/**
 * zypp/history: `time|action|…` with `|` and `\` escaped by `\`, times local without a zone. libzypp writes a line when a package is installed, whether
 * it was new or replaced another version (which one is not said), and when one is removed, but none for a package that another obsoleted. A failed change
 * stands in a comment only.
 */
import * as z from 'zod';
import { text } from '../../host/text.ts';
import type { LocalClock } from '../localtime.ts';
import {
  changeEvent,
  type HistoryEvent,
  type HistoryParser,
  nextTransaction,
  shortened,
  startsSchema,
} from './packagehistory.ts';

const PATH = '/var/log/zypp/history';
/** `# 2026-11-23 03:01:23 alpha-failpre-1.0-1.noarch.rpm install failed`; a removal's has no `.rpm`. */
const FAILED = /^# (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (\S+?)(?:\.rpm)? (install|remove) failed$/;
/** Name, version-release, architecture. */
const NVRA = /^(.+)-([^-]+-[^-]+)\.([^.]+)$/;

const stateSchema = z.strictObject({
  starts: startsSchema,
  command: z
    .strictObject({
      transaction: z.string(),
      user: z.string().describe('account@host as zypp wrote it'),
      line: z.string().describe('each word of the command in single quotes'),
    })
    .nullable()
    .describe('the last command'),
});

type State = z.infer<typeof stateSchema>;

/** The fields of a line, unescaped. */
export function zyppFields(line: string): string[] {
  const fields = [''];
  for (const [piece] of line.matchAll(/\\[\s\S]|\||[^\\|]+|\\/g)) {
    if (piece === '|') fields.push('');
    else fields[fields.length - 1] += piece.length > 1 && piece.startsWith('\\') ? piece.slice(1) : piece;
  }
  return fields;
}

/** Who ran the last command; a package's own requester where there is none. `root@host` is root: the host is the node itself. */
function by(state: State, requester: string): { user: string | undefined; command: string | undefined } {
  const who = state.command?.user || requester;
  const command = state.command?.line;
  if (state.command !== null) state.command.line = shortened(state.command.line);
  return { user: who.replace(/@[^@]*$/, ''), command };
}

function packageEvent(state: State, time: string, fields: readonly string[]): HistoryEvent {
  const [, padded = '', name = '', version, arch, requester = '', repository] = fields;
  const isInstall = padded.trimEnd() === 'install';
  return changeEvent({
    time,
    action: isInstall ? 'installed' : 'removed',
    manager: 'rpm',
    name,
    arch,
    ...(isInstall ? { to: version } : { from: version }),
    by: by(state, requester),
    fields: {
      transaction: state.command?.transaction,
      ...(isInstall ? { repository } : {}),
      ...(requester === '' ? { auto: true as const } : {}),
    },
  });
}

function failedEvent(state: State, clock: LocalClock, line: string): HistoryEvent[] {
  const [, wall = '', file = '', action = ''] = FAILED.exec(line) ?? [];
  const [, name, version, arch] = NVRA.exec(file) ?? [];
  const time = clock.parse(wall);
  if (time === undefined || name === undefined) return [];
  const versions = action === 'install' ? { to: version } : { from: version };
  const fields = { transaction: state.command?.transaction, error: `${action} failed` };
  return [
    changeEvent({
      time,
      action: 'failed',
      manager: 'rpm',
      name,
      arch,
      ...versions,
      by: by(state, ''),
      fields,
    }),
  ];
}

/** Understands zypp/history. */
export function zyppHistory(clock: LocalClock): HistoryParser<State> {
  return {
    source: 'zypp',
    path: PATH,
    state: stateSchema,
    begin: () => ({ starts: { at: '', count: 0 }, command: null }),
    line(state, bytes) {
      const line = text(bytes);
      if (line.startsWith('#')) return failedEvent(state, clock, line);
      const fields = zyppFields(line);
      const [wall = '', padded = '', user = '', command = ''] = fields;
      const time = clock.parse(wall);
      if (time === undefined) return [];
      const action = padded.trimEnd();
      if (action === 'command') {
        state.command = { transaction: nextTransaction(state.starts, wall), user, line: command };
        return [];
      }
      const isPackage =
        (action === 'install' || action === 'remove') && fields[2] !== undefined && fields[2] !== '';
      return isPackage ? [packageEvent(state, time, fields)] : [];
    },
    settle: () => [],
  };
}
