import * as z from 'zod';
import { reasonOf } from '../src/errors.ts';
import { DELIVERED, defineProcessor } from '../src/plugin/handler.ts';
import type { Batch, BatchEvent } from '../src/spool/batch.ts';

const options = z.strictObject({
  show: z
    .enum(['line', 'events', 'tally'])
    .default('line')
    .describe(
      'line: one a batch; events: one an event too; tally: how many of each agent and kind, at the end',
    ),
});

/** Text from a node made safe for a terminal: control and invisible characters as `\u{…}`. */
function visible(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu,
    (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`,
  );
}

function batchLine({ header, trailer }: Batch): string {
  const { time, host, agent, kind, epoch, seq } = header;
  return `${time} ${host} ${agent} ${kind} ${epoch}/${seq} ${trailer.count} events`;
}

function eventLine({ time, action, item, ...rest }: BatchEvent): string {
  return `  ${time} ${action} ${item ?? '-'} ${JSON.stringify(rest)}`;
}

/** One line an event; a malformed one ends the batch with a line that says so. */
function* eventLines(batch: Batch): Generator<string> {
  try {
    for (const event of batch.events()) yield eventLine(event);
  } catch (error) {
    yield `  ${reasonOf(error)}`;
  }
}

class Tally {
  readonly #counts = new Map<string, { batches: number; events: number }>();

  add({ header, trailer }: Batch): void {
    const key = `${header.agent} ${header.kind}`;
    const { batches, events } = this.#counts.get(key) ?? { batches: 0, events: 0 };
    this.#counts.set(key, { batches: batches + 1, events: events + trailer.count });
  }

  *lines(): Generator<string> {
    for (const [key, { batches, events }] of [...this.#counts].sort())
      yield `${key}: ${batches} batches, ${events} events`;
  }
}

export default defineProcessor({
  name: 'debug',
  summary: 'prints or tallies what passes, for people',
  options,
  async open({ options: { show }, print }) {
    const tally = new Tally();
    const say = (line: string): void => print(`${visible(line)}\n`);
    return {
      async deliver(parcels) {
        for (const { batch } of parcels) {
          if (show === 'tally') tally.add(batch);
          else say(batchLine(batch));
          if (show === 'events') for (const line of eventLines(batch)) say(line);
        }
        return parcels.map(() => DELIVERED);
      },
      async close() {
        for (const line of tally.lines()) say(line);
      },
    };
  },
});
