/** One handler working through its queue under its lock while routing fills it: opens files, hands them over in groups, acts on each answer. */
import { orAbort } from '../abort.ts';
import { isMissing, isUnreadable, reasonOf } from '../errors.ts';
import { holdYoungSpace } from '../heap.ts';
import {
  type Answer,
  DestinationDown,
  type HandlerContext,
  type Parcel,
  type Session,
} from '../plugin/handler.ts';
import { type Decoded, damageReason } from '../spool/decode.ts';
import { batchFile, byName } from '../spool/names.ts';
import type { SpoolFile } from '../spool/spool.ts';
import { afterDelivery, afterFailure, type Destination, writeDestination } from './destination.ts';
import { type DeliverRun, type Delivery, handlersDirectory, type Post, wants } from './post.ts';
import type { Kept, Supply } from './supply.ts';

/** Names are read from a queue in windows of this many, sorted, so that a backlog of any size costs the same memory. */
const WINDOW = 4096;
const DEFAULT_GROUP = 256;
const GROUP_BYTES = 8 * 1024 * 1024;
/** How long a handler may take to finish the group in hand after its deadline or a SIGTERM, and to close, in ms. */
const GRACE = 10_000;

/** A file being delivered. */
interface Consignment {
  readonly file: SpoolFile;
  /** Whether it holds this one batch and nothing else: then the file itself can be set aside. */
  readonly single: boolean;
  /** Bytes of it in memory, those that the handler does not want among them. */
  readonly size: number;
  readonly parcels: readonly Parcel[];
}

/** One handler working through its queue under its lock. */
export class Round {
  readonly #run: DeliverRun;
  readonly #post: Post;
  readonly #supply: Supply;
  readonly #kept: Kept;
  /** No new group is begun once it aborts. */
  readonly #soon: AbortSignal;
  /** Aborts what is under way. */
  readonly #now: AbortSignal;
  readonly #skip = new Set<string>();
  readonly #count = { delivered: 0, deferred: 0, failed: 0 };
  #destination: Destination;
  #session: Session | undefined;

  constructor(run: DeliverRun, post: Post, supply: Supply, destination: Destination) {
    this.#run = run;
    this.#post = post;
    this.#supply = supply;
    this.#kept = supply.join(post.name);
    this.#destination = destination;
    this.#soon = AbortSignal.any([run.signal, AbortSignal.timeout(post.deadlineMs)]);
    this.#now = afterGrace(this.#soon);
  }

  async work(): Promise<Delivery> {
    let down: string | undefined;
    const before = this.#destination;
    try {
      await this.#drain();
    } catch (error) {
      down = reasonOf(error);
      this.#run.log.error({ handler: this.#post.name, reason: down }, 'destination down');
      this.#destination = afterFailure(this.#destination, down, this.#run.clock(), this.#run.random());
    } finally {
      this.#supply.leave(this.#post.name);
      await this.#close();
    }
    if (this.#destination !== before) {
      await writeDestination(
        this.#run.spool.disk,
        handlersDirectory(this.#run.paths, this.#run.stack),
        this.#post.name,
        this.#destination,
      );
    }
    const { failingSince } = this.#destination;
    return {
      handler: this.#post.name,
      outcome: down === undefined ? 'ok' : 'down',
      ...this.#count,
      ...(down === undefined ? {} : { reason: down }),
      ...(failingSince === null ? {} : { failingSince }),
    };
  }

  async #drain(): Promise<void> {
    while (!this.#soon.aborted) {
      // Asked before the queue is looked at: what reaches it while it is read is waited for no longer than the next look.
      const more = this.#supply.more();
      const window = await this.#supply.alone(() => this.#window());
      if (window.length === 0) {
        if (!more) return;
        await untilAborted(more, this.#soon);
        continue;
      }
      await this.#workThrough(window);
    }
  }

  /** Hands over the files of a window in groups. */
  async #workThrough(window: readonly SpoolFile[]): Promise<void> {
    let group: Consignment[] = [];
    let batches = 0;
    let bytes = 0;
    for (const file of window) {
      if (this.#soon.aborted) break;
      const consignment = await this.#consign(file);
      if (!consignment) continue;
      group.push(consignment);
      batches += consignment.parcels.length;
      bytes += consignment.size;
      if (batches < (this.#post.handler.group ?? DEFAULT_GROUP) && bytes < GROUP_BYTES) continue;
      await this.#deliver(group);
      holdYoungSpace();
      [group, batches, bytes] = [[], 0, 0];
    }
    if (group.length > 0) await this.#deliver(group);
  }

  /** The next files of the queue in order of their names. */
  async #window(): Promise<SpoolFile[]> {
    const files: SpoolFile[] = [];
    for await (const file of this.#run.spool.files('queue', this.#post.name)) {
      if (this.#skip.has(file.name)) continue;
      files.push(file);
      if (files.length >= WINDOW) break;
    }
    return files.sort(byName);
  }

  /** What routing has kept of a file, if it is still there. */
  async #keptOf({ name, path }: SpoolFile): Promise<Decoded[] | undefined> {
    const kept = this.#kept.take(name);
    if (kept === undefined || (await this.#run.spool.disk.stat(path))?.size !== kept.bytes) return undefined;
    return kept.batches.map((batch) => ({ batch }));
  }

  /** Opens a file; damage that appeared in the queue is set aside, what is whole beside it becomes files of its own. Batches of agents that the handler does not want count as delivered. */
  async #consign(file: SpoolFile): Promise<Consignment | undefined> {
    try {
      const decoded = (await this.#keptOf(file)) ?? (await this.#run.spool.open(file.path));
      const damage = damageReason(decoded);
      if (damage !== undefined) {
        for (const { batch } of decoded) {
          if (batch) await this.#run.spool.divide(file, batchFile(batch.header), batch.bytes);
        }
        await this.#run.spool.quarantine(file, damage);
        this.#count.failed++;
        return undefined;
      }
      const parcels = decoded.flatMap(({ batch }) =>
        batch && wants(this.#post, batch.header.agent) ? { batch, path: file.path } : [],
      );
      if (parcels.length === 0) {
        await this.#run.spool.delivered(file);
        return undefined;
      }
      const size = decoded.reduce((sum, { batch }) => sum + (batch?.bytes.length ?? 0), 0);
      return { file, single: decoded.length === 1, size, parcels };
    } catch (error) {
      this.#skip.add(file.name);
      if (isMissing(error)) return undefined;
      if (!isUnreadable(error)) throw error;
      await this.#giveUp(file, { reason: `cannot be read: ${reasonOf(error)}` });
      return undefined;
    }
  }

  /** Hands over the batches of a group of files, and settles the files whose batches all have an answer, also when the destination goes in between. */
  async #deliver(group: readonly Consignment[]): Promise<void> {
    this.#session ??= await this.#open();
    const answers: Answer[] = [];
    try {
      for (const lot of this.#lots(group.flatMap((consignment) => consignment.parcels)))
        answers.push(...(await this.#answers(this.#session, lot)));
    } finally {
      await this.#settleAll(group, answers);
    }
    for (const answer of answers) if (answer.status === 'refused') throw new DestinationDown(answer.reason);
  }

  /** A file may hold more batches than a handler takes at once. */
  *#lots(parcels: readonly Parcel[]): Generator<Parcel[]> {
    const most = this.#post.handler.group ?? DEFAULT_GROUP;
    let lot: Parcel[] = [];
    let bytes = 0;
    for (const parcel of parcels) {
      lot.push(parcel);
      bytes += parcel.batch.bytes.length;
      if (lot.length < most && bytes < GROUP_BYTES) continue;
      yield lot;
      [lot, bytes] = [[], 0];
    }
    if (lot.length > 0) yield lot;
  }

  async #settleAll(group: readonly Consignment[], answers: readonly Answer[]): Promise<void> {
    if (answers.some(({ status }) => status === 'delivered'))
      this.#destination = afterDelivery(this.#destination, this.#run.clock());
    let at = 0;
    for (const consignment of group) {
      const own = answers.slice(at, at + consignment.parcels.length);
      at += consignment.parcels.length;
      if (own.length === consignment.parcels.length) await this.#settle(consignment, own);
    }
  }

  async #answers(session: Session, parcels: readonly Parcel[]): Promise<Answer[]> {
    try {
      return await this.#ask(session, parcels);
    } catch (error) {
      if (error instanceof DestinationDown || this.#now.aborted) throw error;
      if (parcels.length === 1) return [{ status: 'deferred', reason: reasonOf(error) }];
      const answers: Answer[] = [];
      for (const parcel of parcels) answers.push(...(await this.#answers(session, [parcel])));
      return answers;
    }
  }

  async #ask(session: Session, parcels: readonly Parcel[]): Promise<Answer[]> {
    const answers = await beforeAbort(
      session.deliver(parcels),
      this.#now,
      `no answer within ${this.#post.deadlineMs / 1000} s`,
    );
    if (answers.length !== parcels.length)
      throw new Error(
        `${this.#post.handler.name} gave ${answers.length} answers for ${parcels.length} batches`,
      );
    return answers;
  }

  async #open(): Promise<Session> {
    const { name, options, handler, deadlineMs } = this.#post;
    const { paths, store, log, print, quota } = this.#run;
    const context: HandlerContext = { name, options, paths, store, log, quota, print, signal: this.#now };
    return beforeAbort(handler.open(context), this.#now, `not connected within ${deadlineMs / 1000} s`);
  }

  async #close(): Promise<void> {
    if (!this.#session) return;
    try {
      await beforeAbort(
        this.#session.close(),
        AbortSignal.timeout(GRACE),
        `not closed within ${GRACE / 1000} s`,
      );
    } catch (error) {
      this.#run.log.warn({ handler: this.#post.name, reason: reasonOf(error) }, 'close failed');
    }
  }

  /** Acts on the answers for one file: it leaves the queue when each of its batches is delivered or is a file of its own. */
  async #settle({ file, single, parcels }: Consignment, answers: readonly Answer[]): Promise<void> {
    let stays = false;
    for (const [index, answer] of answers.entries()) {
      const parcel = parcels[index]!;
      if (answer.status === 'delivered') this.#count.delivered++;
      else stays = (await this.#setAside(file, parcel, answer, single)) || stays;
    }
    const names = { ...this.#destination.attempts };
    if (!stays && names[file.name] !== undefined) {
      delete names[file.name];
      this.#destination = { ...this.#destination, attempts: names };
    }
    if (!stays) await this.#run.spool.delivered(file);
  }

  /** Keeps a batch that was not taken. True when the file itself stays in the queue. */
  async #setAside(
    file: SpoolFile,
    { batch }: Parcel,
    answer: Exclude<Answer, { status: 'delivered' }>,
    single: boolean,
  ): Promise<boolean> {
    const { spool } = this.#run;
    const own: SpoolFile = single ? file : await spool.divide(file, batchFile(batch.header), batch.bytes);
    const { name } = own;
    this.#skip.add(name);
    if (answer.status === 'refused') {
      this.#count.deferred++;
      return single;
    }
    const attempts = (this.#destination.attempts[name] ?? 0) + 1;
    if (answer.status === 'deferred' && attempts < this.#post.attempts) {
      this.#count.deferred++;
      this.#destination = {
        ...this.#destination,
        attempts: { ...this.#destination.attempts, [name]: attempts },
      };
      this.#run.log.warn(
        { handler: this.#post.name, file: name, attempts, reason: answer.reason },
        'deferred',
      );
      return single;
    }
    await this.#giveUp(own, { reason: answer.reason, attempts });
    return false;
  }

  async #giveUp(file: SpoolFile, why: { reason: string; attempts?: number }): Promise<void> {
    this.#count.failed++;
    await this.#run.spool.fail(file, this.#post.name, why);
    this.#run.log.error({ handler: this.#post.name, file: file.name, ...why }, 'given up');
  }
}

/** A signal that aborts a while after `soon` does, so that the group in hand can be finished. */
function afterGrace(soon: AbortSignal): AbortSignal {
  const controller = new AbortController();
  const later = (): void => void setTimeout(() => controller.abort(), GRACE).unref();
  if (soon.aborted) later();
  else soon.addEventListener('abort', later, { once: true });
  return controller.signal;
}

/** Waits for `work`, but no longer than until the signal aborts. */
async function untilAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  try {
    await orAbort(work, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** What `work` gives; `DestinationDown` that says `what` when `signal` aborts first. */
async function beforeAbort<T>(work: Promise<T>, signal: AbortSignal, what: string): Promise<T> {
  try {
    return await orAbort(work, signal);
  } catch (error) {
    if (signal.aborted && error === signal.reason) throw new DestinationDown(what);
    throw error;
  }
}
