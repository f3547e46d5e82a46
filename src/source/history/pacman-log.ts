/**
 * pacman.log: `[time] [PACMAN] Running '…'` and `[time] [ALPM] upgraded name (old -> new)`. Since pacman 5.2 times carry their offset; before, they are
 * local and without seconds, and before 4.2 lines have no `[ALPM]`. A package's line is written when the change is done.
 */
import * as z from 'zod';
import { text } from '../../host/text.ts';
import type { LocalClock } from '../localtime.ts';
import {
  changeEvent,
  failedCommand,
  type HistoryAction,
  type HistoryEvent,
  type HistoryParser,
  nextTransaction,
  shortened,
  startsSchema,
} from './packagehistory.ts';

const PATH = '/var/log/pacman.log';
const LINE = /^\[([^\]]+)\] (?:\[([A-Z-]+)\] )?(.*)$/s;
const OFFSET = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)([+-]\d\d):?(\d\d)$/;
const CHANGE = /^(installed|upgraded|downgraded|reinstalled|removed) (\S+) \((.+)\)$/s;
const BROKEN = /^transaction (failed|interrupted)\b/;

const stateSchema = z.strictObject({
  starts: startsSchema,
  command: z.string().nullable().describe('the last command'),
  transaction: z.string().nullable().describe('the transaction that it began'),
});

type State = z.infer<typeof stateSchema>;

function timeOf(written: string, clock: LocalClock): string | undefined {
  const [, wall, hours, minutes] = OFFSET.exec(written) ?? [];
  if (wall === undefined) return clock.parse(/^\S+ \d\d:\d\d$/.test(written) ? `${written}:00` : written);
  const time = new Date(`${wall}${hours}:${minutes}`);
  return Number.isNaN(time.getTime()) ? undefined : time.toISOString();
}

function versionsOf(action: string, inside: string): { from?: string; to?: string } {
  const arrow = inside.indexOf(' -> ');
  if (arrow >= 0) return { from: inside.slice(0, arrow), to: inside.slice(arrow + 4) };
  if (action === 'installed') return { to: inside };
  return action === 'removed' ? { from: inside } : { from: inside, to: inside };
}

function alpmEvents(state: State, time: string, message: string): HistoryEvent[] {
  const by = { command: state.command ?? undefined };
  const fields = { transaction: state.transaction ?? undefined };
  const broken = BROKEN.exec(message);
  if (broken !== null) return [failedCommand(time, by, { ...fields, error: message })];
  const [, action, name = '', inside = ''] = CHANGE.exec(message) ?? [];
  if (action === undefined) return [];
  const versions = versionsOf(action, inside);
  if (state.command !== null) state.command = shortened(state.command);
  return [
    changeEvent({ time, action: action as HistoryAction, manager: 'pacman', name, ...versions, by, fields }),
  ];
}

/**
 * Other programs that use libalpm write no command, only lines under their own name ([PAMAC], [PACKAGEKIT]): what follows such a line, or the one
 * transaction that a command has, is not the work of pacman's last command.
 */
function endTurn(state: State, isOver: boolean): void {
  if (isOver) state.command = null;
}

/** Understands pacman.log. */
export function pacmanLog(clock: LocalClock): HistoryParser<State> {
  return {
    source: 'pacman',
    path: PATH,
    state: stateSchema,
    begin: () => ({ starts: { at: '', count: 0 }, command: null, transaction: null }),
    line(state, bytes) {
      const [, written = '', tag, message = ''] = LINE.exec(text(bytes)) ?? [];
      const time = timeOf(written, clock);
      if (time === undefined) return [];
      if (tag === 'ALPM-SCRIPTLET' || tag === 'ALPM-HOOK') return [];
      // A line break in an argument is written as it is: the command is told up to there.
      const command = /^Running '(.*?)'?$/s.exec(message)?.[1];
      if (command !== undefined && tag !== 'ALPM') {
        Object.assign(state, { command, transaction: null });
        return [];
      }
      if (tag !== undefined && tag !== 'ALPM') {
        if (tag !== 'PACMAN') endTurn(state, state.transaction === null);
        return [];
      }
      if (message === 'transaction started') {
        endTurn(state, state.transaction !== null);
        state.transaction = nextTransaction(state.starts, written);
        return [];
      }
      return alpmEvents(state, time, message);
    },
    settle: () => [],
  };
}
