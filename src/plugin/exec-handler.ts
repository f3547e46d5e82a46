/** The handler that is an executable of the user's own, in any language; the same on a node and in the centre. */
import * as z from 'zod';
import { durationSchema } from '../config/schema.ts';
import { type ExecutableEnd, runExecutable } from '../host/process.ts';
import type { Header } from '../spool/batch.ts';
import { trustedExecutable } from './executable.ts';
import { type Answer, DELIVERED, DestinationDown, type Handler } from './handler.ts';

/** sysexits(3) EX_TEMPFAIL: try again later. */
const TRY_LATER = 75;

const options = z.strictObject({
  command: z
    .tuple([z.string().min(1)], z.string())
    .describe('absolute path, then arguments; gets each batch on stdin; no shell'),
  timeout: durationSchema.prefault('1m').describe('how long it may take for one batch'),
});

/** What the executable is told about a batch without parsing it. */
export function batchEnvironment({ node, agent, epoch, seq, kind, id }: Header): Record<string, string> {
  return {
    DSAC_NODE: node,
    DSAC_AGENT: agent,
    DSAC_EPOCH: epoch,
    DSAC_SEQ: String(seq),
    DSAC_KIND: kind,
    DSAC_BATCH_ID: id,
  };
}

/** The answer that an end stands for: exit 0 delivered, 75 deferred, other codes rejected; what was killed is tried again. */
export function answerOf({ code, signal, stderr, timedOut }: ExecutableEnd, timeoutMs: number): Answer {
  if (code === 0) return DELIVERED;
  const said = stderr.trimStart().split('\n', 1)[0]!.trimEnd().slice(0, 300);
  const reason = (how: string): string => (said === '' ? how : `${how}: ${said}`);
  if (timedOut) return { status: 'deferred', reason: reason(`no end within ${timeoutMs / 1000} s`) };
  if (code === null) return { status: 'deferred', reason: reason(`killed by ${signal}`) };
  return { status: code === TRY_LATER ? 'deferred' : 'rejected', reason: reason(`exit ${code}`) };
}

/** `exec` for a dispatcher or a processor. */
export const execHandler: Omit<Handler<z.infer<typeof options>>, 'summary'> = {
  name: 'exec',
  options,
  group: 1,
  async open({ options: { command, timeout }, signal }) {
    await trustedExecutable(command[0]);
    return {
      async deliver(parcels) {
        const answers: Answer[] = [];
        for (const { batch } of parcels) {
          const file = await trustedExecutable(command[0]);
          const end = await runExecutable({
            command: [file, ...command.slice(1)],
            input: batch.bytes,
            env: batchEnvironment(batch.header),
            timeoutMs: timeout,
            signal,
          });
          if (end.stopped) throw new DestinationDown('stopped before it had answered');
          answers.push(answerOf(end, timeout));
        }
        return answers;
      },
      async close() {},
    };
  },
};
