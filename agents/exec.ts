/**
 * Runs an executable of the user's own, in any language, as an agent. It writes JSON Lines on stdout: items (`{"key": …, "fields": {…}}`) or
 * events (`{"time": …, "action": …}`); a log may add `"cursor"` to a line, and gets the last one back in DSAC_CURSOR. Exit status 0: all was read;
 * 69: the source is absent; any other: it failed, and nothing of this run counts.
 */
import * as z from 'zod';
import { nameSchema } from '../src/config/name.ts';
import { reasonOf } from '../src/errors.ts';
import { CommandFailed } from '../src/host/system.ts';
import {
  type AgentContext,
  absent,
  defineConfigured,
  defineInventory,
  defineLog,
  type Item,
  type LogEntry,
} from '../src/plugin/agent.ts';
import { trustedExecutable } from '../src/plugin/executable.ts';
import { bySchema, fieldsSchema, timeSchema } from '../src/spool/batch.ts';

/** EX_UNAVAILABLE of sysexits(3). */
const ABSENT = 69;

const options = z.strictObject({
  command: z
    .array(z.string())
    .nonempty()
    .describe('the executable’s absolute path, then its arguments; no shell'),
  kind: z.enum(['inventory', 'log']).describe('inventory: it lists what is; log: it tells what happened'),
});

type Options = z.infer<typeof options>;

const itemLine = z.strictObject({ key: z.string(), fields: fieldsSchema });

const eventLine = z.strictObject({
  time: timeSchema.optional().describe('default: the time of the run'),
  action: nameSchema.optional(),
  item: z.string().optional(),
  before: fieldsSchema.optional(),
  after: fieldsSchema.optional(),
  by: bySchema.optional(),
  data: fieldsSchema.optional(),
  cursor: z.json().optional(),
});

async function* lines<T>(
  context: AgentContext,
  command: Options['command'],
  schema: z.ZodType<T>,
  env: Record<string, string>,
): AsyncGenerator<T> {
  const [program, ...args] = command;
  const path = await trustedExecutable(program!);
  let number = 0;
  try {
    for await (const line of context.system.lines(path, args, {
      signal: context.signal,
      env: { ...env, DSAC_ROOTFS: context.system.root },
    })) {
      number++;
      yield schema.parse(JSON.parse(line.toString()));
    }
  } catch (error) {
    if (error instanceof CommandFailed && error.ended.code === ABSENT)
      absent(error.ended.stderr.trim().split('\n')[0] || `${path}: exit ${ABSENT}`);
    if (error instanceof CommandFailed) throw error;
    throw new Error(
      `${path}: line ${number}: ${error instanceof SyntaxError ? 'not JSON' : reasonOf(error)}`,
      { cause: error },
    );
  }
}

async function* events(
  context: AgentContext,
  { command }: Options,
  cursor: unknown,
): AsyncGenerator<LogEntry> {
  let reached: unknown;
  const env: Record<string, string> = cursor === undefined ? {} : { DSAC_CURSOR: JSON.stringify(cursor) };
  // No place is named until the exit status says that all was read: half of what happened must not count.
  for await (const { cursor: behind, action, time = context.now.toISOString(), ...rest } of lines(
    context,
    command,
    eventLine,
    env,
  )) {
    if (action !== undefined) yield { event: { time, action, ...rest } };
    if (behind !== undefined) reached = behind;
  }
  if (reached !== undefined) yield { cursor: reached };
}

export default defineConfigured<Options>({
  name: 'exec',
  summary: 'an executable of your own, in any language',
  every: '1h',
  options,
  create(name, given) {
    const common = { name, summary: `runs ${given.command[0]}`, every: '1h', options, fields: fieldsSchema };
    if (given.kind === 'log') {
      return defineLog({
        ...common,
        actions: {},
        sources: { exec: (context, cursor) => events(context, given, cursor) },
      });
    }
    return defineInventory({
      ...common,
      actions: { added: 'was not there before', changed: 'its fields differ', removed: 'is no longer there' },
      describe: ({ before, after }) => ({
        action: before === undefined ? 'added' : after === undefined ? 'removed' : 'changed',
      }),
      sources: { exec: (context) => lines(context, given.command, itemLine, {}) as AsyncIterable<Item> },
    });
  },
});
