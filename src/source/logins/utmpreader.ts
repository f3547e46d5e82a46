/** What reading wtmp and btmp have in common. */
import { isoTime, itemKey, type LoginEvent, loginEvent, notAhead } from './sessions.ts';
import type { UtmpPart, UtmpRecord } from './utmp.ts';

/** A record's time; microseconds that cannot be are taken as 0. */
function timeOf({ sec, usec }: UtmpRecord): string | undefined {
  return isoTime(sec, usec >= 0 && usec < 1_000_000 ? usec : 0);
}

/** The record's time as it stands there: makes item keys unique. */
export function stamp({ sec, usec }: UtmpRecord): string {
  return `${sec}.${String(usec).padStart(6, '0')}`;
}

/** Where the person came from: the host, else the address. */
export function from({ host, addr }: UtmpRecord): string | undefined {
  return host !== '' ? host : (addr ?? undefined);
}

/** What wtmp and btmp have in common: damage is counted over a stretch of records and reported once, with its place. */
export abstract class RecordReader {
  readonly #source: string;
  #damaged: { item: string; detail: string; count: number; bytes: number } | undefined;
  /** Time of the last sound record, at the latest when it was read: that of damage behind it. */
  protected last: string | undefined;

  constructor(source: string, last: string | undefined) {
    this.#source = source;
    this.last = last;
  }

  /** Events of one part of a file; `offset` is its place there, `now` the time of damage before the first sound record. */
  *read(part: UtmpPart, offset: number, now: string): Generator<LoginEvent> {
    const { record, damage } = part;
    const time = record === undefined ? undefined : timeOf(record);
    if (record === undefined || time === undefined) {
      yield* this.release();
      this.#damage(damage ?? `time ${record?.sec} seconds after 1970`, offset, part.length);
    } else {
      yield* this.#report(now);
      yield* this.record(record, time);
      if (record.type !== 0) this.last = notAhead(time, now);
    }
  }

  /** Bytes of a file that will not grow that are too few for a record. */
  *torn(length: number, offset: number, now: string): Generator<LoginEvent> {
    yield* this.release();
    this.#damage(`${length} bytes, too few for a record`, offset, length);
    yield* this.finish(now);
  }

  /** What is left to say at the end of the input. */
  *finish(now: string): Generator<LoginEvent> {
    yield* this.release();
    yield* this.#report(now);
  }

  protected abstract record(record: UtmpRecord, time: string): Generator<LoginEvent>;

  /** Gives out an event that was held back. */
  protected *release(): Generator<LoginEvent> {}

  #damage(what: string, offset: number, length: number): void {
    this.#damaged ??= {
      item: itemKey('damage', this.#source, offset),
      detail: `at byte ${offset}: ${what}`,
      count: 0,
      bytes: 0,
    };
    this.#damaged.count += 1;
    this.#damaged.bytes += length;
  }

  *#report(now: string): Generator<LoginEvent> {
    if (this.#damaged === undefined) return;
    const { item, detail, count, bytes } = this.#damaged;
    this.#damaged = undefined;
    const more = count > 1 ? `; ${count} places one after another, ${bytes} bytes` : '';
    yield loginEvent(this.last ?? now, 'record-damaged', item, { count, detail: `${detail}${more}` });
  }
}
