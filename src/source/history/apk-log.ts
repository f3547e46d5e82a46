/**
 * apk.log: what apk printed, run by run, each headed by its command line and begin in UTC. A package's line is written before the work on it, an error
 * behind it; so a run is told when its last line (`OK: …`, `2 errors; …`) is there, the next has begun, or it is a day old.
 */
import * as z from 'zod';
import { text } from '../../host/text.ts';
import { clockOf } from '../localtime.ts';
import {
  failedCommand,
  type HistoryAction,
  type HistoryEvent,
  type HistoryParser,
  isStale,
  nextTransaction,
  startsSchema,
  transactionOf,
} from './packagehistory.ts';

const PATH = '/var/log/apk.log';
const RUN = /^Running `(.*)` at (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)$/s;
/** `(2/3) Upgrading libssl3 (3.3.2-r1 -> 3.3.2-r4)`; the name may carry the tag of a pinned repository (`name@edge`). */
const CHANGE = /^\(\s*\d+\/\d+\) ([A-Z][a-z]+) ([^\s@]+)(?:@\S+)? \((\S+?)(?: -> (\S+))?\)$/;
const END = /^(?:OK:|\d+ errors?;) /;
const ACTIONS: Readonly<Record<string, HistoryAction>> = {
  Installing: 'installed',
  Upgrading: 'upgraded',
  Downgrading: 'downgraded',
  Replacing: 'reinstalled',
  Reinstalling: 'reinstalled',
  Purging: 'removed',
};

const changeSchema = z.strictObject({
  verb: z.string(),
  name: z.string(),
  from: z.string().optional(),
  to: z.string().optional(),
  error: z.string().optional(),
  failed: z.boolean(),
});

type Change = z.infer<typeof changeSchema>;

const stateSchema = z.strictObject({
  starts: startsSchema,
  run: z
    .strictObject({
      transaction: z.string(),
      command: z.string(),
      time: z.string(),
      changes: z.array(changeSchema),
      errors: z.array(z.string()).describe('errors that name no package'),
    })
    .nullable()
    .describe('the run that has not ended'),
  head: z.string().optional().describe('what there is of a command line that goes on in the next line'),
});

type State = z.infer<typeof stateSchema>;
type Run = NonNullable<State['run']>;

function parseChange(line: string): Change | undefined {
  const [, verb = '', name = '', first, second] = CHANGE.exec(line) ?? [];
  if (!Object.hasOwn(ACTIONS, verb) || first === undefined) return undefined;
  const fresh = { verb, name, failed: false };
  if (second !== undefined) return { ...fresh, from: first, to: second };
  if (verb === 'Installing') return { ...fresh, to: first };
  return verb === 'Purging' ? { ...fresh, from: first } : { ...fresh, from: first, to: first };
}

/**
 * Gives an error to the package that it names: `libssl3-3.3.2-r1: BAD archive` means that the change did not happen, `busybox-1.37.0-r9.post-install:
 * script exited with error 1` that a script failed around one that did.
 */
function addError(run: Run, error: string): void {
  for (const change of run.changes.toReversed()) {
    const names = [change.to, change.from].map((version) => `${change.name}-${version}`);
    const named = names.find((name) => error.startsWith(`${name}:`) || error.startsWith(`${name}.`));
    if (named === undefined) continue;
    change.error = error;
    change.failed ||= error[named.length] === ':';
    return;
  }
  run.errors.push(error);
}

function runEvents({ transaction, command, time, changes, errors }: Run, ended: boolean): HistoryEvent[] {
  const common = { transaction, ...(ended ? {} : { unfinished: true as const }) };
  const error = errors.length > 0 ? errors.join('; ') : undefined;
  if (changes.length === 0)
    return error === undefined ? [] : [failedCommand(time, { command }, { transaction, error })];
  return transactionOf(
    changes.map((change) => ({
      time,
      action: change.failed ? 'failed' : ACTIONS[change.verb]!,
      manager: 'apk',
      name: change.name,
      from: change.from,
      to: change.to,
      by: { command },
      fields: { ...common, error: change.error ?? error },
    })),
  );
}

function close(state: State, ended: boolean): HistoryEvent[] {
  const { run } = state;
  state.run = null;
  return run === null ? [] : runEvents(run, ended);
}

/** The longest begin of a command line that is held. */
const MAX_HEAD = 65_536;

/** The line, with what is before it where a command line has line breaks in it: apk writes them as they are. Undefined while its end is to come. */
function wholeLine(state: State, line: string): string | undefined {
  const whole = state.head === undefined || RUN.test(line) ? line : `${state.head}\n${line}`;
  const isHead = whole.startsWith('Running `') && !RUN.test(whole);
  delete state.head;
  if (!isHead || whole.length > MAX_HEAD) return whole;
  state.head = whole;
  return undefined;
}

/** A line between a run's head and its end. Indented lines go on from an error. */
function addLine(run: Run, line: string): void {
  const change = parseChange(line);
  if (change !== undefined) run.changes.push(change);
  else if (line.startsWith('ERROR: ')) addError(run, line.slice('ERROR: '.length));
  else if (line.startsWith('  ') && run.errors.length > 0)
    run.errors[run.errors.length - 1] += ` ${line.trim()}`;
}

/** Understands apk.log. */
export function apkLog(): HistoryParser<State> {
  const utc = clockOf('UTC');
  return {
    source: 'apk',
    path: PATH,
    state: stateSchema,
    begin: () => ({ starts: { at: '', count: 0 }, run: null }),
    line(state, bytes) {
      const line = wholeLine(state, text(bytes));
      if (line === undefined) return [];
      const [, command, wall = ''] = RUN.exec(line) ?? [];
      const time = utc.parse(wall);
      if (command !== undefined && time !== undefined) {
        const before = close(state, false);
        state.run = {
          transaction: nextTransaction(state.starts, wall),
          command,
          time,
          changes: [],
          errors: [],
        };
        return before;
      }
      if (END.test(line)) return close(state, true);
      if (state.run !== null) addLine(state.run, line);
      return [];
    },
    settle: (state, now) => (state.run !== null && isStale(state.run.time, now) ? close(state, false) : []),
  };
}
