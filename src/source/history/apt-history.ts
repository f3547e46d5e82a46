/**
 * apt's history.log: one stanza per run of apt, from Start-Date to End-Date, written while it runs. apt removes line breaks from what it is given,
 * so a field cannot forge another; it writes every other byte as it is. `Requested-By` is what SUDO_UID or PKEXEC_UID said. Times are local, without
 * a zone. apt names `Architecture: all` packages with the native architecture, and without any one that disappeared: all of its files went to another.
 */
import * as z from 'zod';
import { text } from '../../host/text.ts';
import type { LocalClock } from '../localtime.ts';
import {
  type HistoryAction,
  type HistoryEvent,
  type HistoryParser,
  historyLost,
  isStale,
  nextTransaction,
  type PackageChange,
  startsSchema,
  transactionOf,
} from './packagehistory.ts';

const PATH = '/var/log/apt/history.log';
const ACTIONS: Readonly<Record<string, HistoryAction>> = {
  Install: 'installed',
  Reinstall: 'reinstalled',
  Upgrade: 'upgraded',
  Downgrade: 'downgraded',
  Remove: 'removed',
  Purge: 'purged',
  Disappeared: 'removed',
};
const FIELD = /^([A-Z][A-Za-z-]*):(?: (.*))?$/s;
/** `name:arch (version)`, `(old, new)` or `(version, automatic)`, and what separates it from the next. */
const PACKAGE = /([^\s:,()]+)(?::([^\s:,()]+))? \(([^()]*)\)(?:, |$)/y;

/** One package as a stanza lists it. */
export interface AptPackage {
  readonly name: string;
  readonly arch: string | undefined;
  /** One version, or the old and the new. */
  readonly versions: readonly string[];
  readonly auto: boolean;
}

/** The packages of an `Install:` or like field, and the rest of the text from where it cannot be understood. */
export function parseAptPackages(list: string): { packages: AptPackage[]; rest: string } {
  const packages: AptPackage[] = [];
  PACKAGE.lastIndex = 0;
  let at = 0;
  for (let match = PACKAGE.exec(list); match !== null; match = PACKAGE.exec(list)) {
    at = PACKAGE.lastIndex;
    const [, name = '', arch, inside = ''] = match;
    const words = inside === '' ? [] : inside.split(', ');
    const auto = words.length > 1 && words.at(-1) === 'automatic';
    packages.push({ name, arch, versions: auto ? words.slice(0, -1) : words, auto });
    if (at === list.length) break;
  }
  return { packages, rest: list.slice(at) };
}

const stateSchema = z.strictObject({
  starts: startsSchema,
  open: z
    .strictObject({
      transaction: z.string(),
      since: z.string().describe('Start-Date as UTC, or when the stanza was first seen'),
      fields: z.array(z.tuple([z.string(), z.string()])),
    })
    .nullable()
    .describe('the stanza that has not ended'),
});

type State = z.infer<typeof stateSchema>;

/** `alice (1000)`: the name may hold anything, parentheses too. */
function requestedBy(value: string | undefined): { user?: string; uid?: number } {
  const match = /^(.*) \((\d{1,10})\)$/s.exec(value ?? '');
  return match === null ? {} : { user: match[1]!, uid: Number(match[2]) };
}

function actionOf(key: string, from: string | undefined, to: string | undefined): HistoryAction {
  return key === 'Upgrade' && from === to ? 'reinstalled' : ACTIONS[key]!;
}

/** The versions before and after that a field's package says. */
function versionsOf(
  key: string,
  [first, second]: readonly string[],
): { from?: string | undefined; to?: string | undefined } {
  if (key === 'Install') return { to: first };
  if (key === 'Reinstall') return { from: first, to: first };
  if (key === 'Remove' || key === 'Purge' || key === 'Disappeared') return { from: first };
  return { from: first, to: second };
}

type Stanza = NonNullable<State['open']>;

/** What all changes of a stanza have in common; `now` stands in for a Start-Date that is no date. */
function headOf(
  { transaction, fields }: Stanza,
  clock: LocalClock,
  now: Date,
): Pick<PackageChange, 'time' | 'by' | 'fields'> {
  const field = new Map(fields);
  const start = field.get('Start-Date');
  const time = start === undefined ? undefined : clock.parse(start);
  return {
    time: time ?? now.toISOString(),
    by: { ...requestedBy(field.get('Requested-By')), command: field.get('Commandline') },
    fields: {
      transaction,
      end: clock.parse(field.get('End-Date') ?? ''),
      unfinished: field.has('End-Date') ? undefined : true,
      error: field.get('Error'),
      comment: field.get('Comment'),
      written_time: time === undefined ? (start ?? 'none') : undefined,
    },
  };
}

function stanzaEvents(stanza: Stanza, clock: LocalClock, now: Date): HistoryEvent[] {
  const head = headOf(stanza, clock, now);
  const changes: PackageChange[] = [];
  const lost: HistoryEvent[] = [];
  for (const [key, value] of stanza.fields.filter(([name]) => Object.hasOwn(ACTIONS, name))) {
    const { packages, rest } = parseAptPackages(value);
    for (const { name, arch, versions, auto } of packages) {
      const { from, to } = versionsOf(key, versions);
      const fields = { ...head.fields, auto: auto || undefined };
      changes.push({
        ...head,
        action: actionOf(key, from, to),
        manager: 'dpkg',
        name,
        arch,
        from,
        to,
        fields,
      });
    }
    const damage = `${PATH}, ${key} of ${stanza.transaction}: not a list of packages from '${rest.slice(0, 200)}'`;
    if (rest !== '') lost.push(historyLost('apt', head.time, damage));
  }
  return [...transactionOf(changes), ...lost];
}

/** Understands history.log; a stanza is told when it has ended, the next has begun, or it is a day old. `now` stands in for a Start-Date that is no date. */
export function aptHistory(clock: LocalClock, now: Date): HistoryParser<State> {
  const close = (state: State): HistoryEvent[] => {
    const { open } = state;
    state.open = null;
    return open === null ? [] : stanzaEvents(open, clock, now);
  };
  const open = (state: State, start: string): Stanza => ({
    transaction: nextTransaction(state.starts, start),
    since: clock.parse(start) ?? now.toISOString(),
    fields: [],
  });
  return {
    source: 'apt',
    path: PATH,
    state: stateSchema,
    begin: () => ({ starts: { at: '', count: 0 }, open: null }),
    line(state, line) {
      const [, key, value = ''] = FIELD.exec(text(line)) ?? [];
      if (key === undefined) return line.length === 0 ? close(state) : [];
      const before = key === 'Start-Date' ? close(state) : [];
      if (state.open === null && key === 'End-Date') return before;
      state.open ??= open(state, key === 'Start-Date' ? value : '');
      state.open.fields.push([key, value]);
      return key === 'End-Date' ? [...before, ...close(state)] : before;
    },
    settle: (state, at) => (state.open !== null && isStale(state.open.since, at) ? close(state) : []),
  };
}
