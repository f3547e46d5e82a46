/** What the records of btmp say: failed attempts. */
import * as z from 'zod';
import { itemKey, type LoginEvent, loginEvent, orNothing } from './sessions.ts';
import { LOGIN_PROCESS, USER_PROCESS, type UtmpRecord } from './utmp.ts';
import { from, RecordReader, stamp } from './utmpreader.ts';

export const btmpStateSchema = z.strictObject({
  last: z.string().optional().describe('time of the last record'),
});

/** What must be remembered of btmp between two runs. */
export type BtmpState = z.infer<typeof btmpStateSchema>;

const sameRecord = (a: UtmpRecord, b: UtmpRecord): boolean => JSON.stringify(a) === JSON.stringify(b);

/**
 * Turns btmp's records into events. Every record is a failed attempt, whatever type the writer gave it (sshd 6, login 6 or 7); records that
 * are equal in every field, one after another, are one event with their number.
 */
export class BtmpReader extends RecordReader {
  #held: { record: UtmpRecord; time: string; count: number } | undefined;

  constructor(state: BtmpState = {}) {
    super('btmp', state.last);
  }

  state(): BtmpState {
    return { last: this.last };
  }

  protected override *record(record: UtmpRecord, time: string): Generator<LoginEvent> {
    if (this.#held !== undefined && sameRecord(this.#held.record, record)) {
      this.#held.count += 1;
      return;
    }
    yield* this.release();
    if (record.type !== LOGIN_PROCESS && record.type !== USER_PROCESS) return;
    this.#held = { record, time, count: 1 };
  }

  protected override *release(): Generator<LoginEvent> {
    if (this.#held === undefined) return;
    const { record, time, count } = this.#held;
    this.#held = undefined;
    yield loginEvent(
      time,
      'failed',
      itemKey('failed', 'btmp', record.line || '-', record.pid, stamp(record)),
      {
        user: record.user,
        tty: orNothing(record.line),
        from: from(record),
        service: record.line.startsWith('ssh') ? 'sshd' : undefined,
        pid: record.pid,
        count: count > 1 ? count : undefined,
      },
    );
  }
}
