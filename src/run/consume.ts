/**
 * Moves batches from a broker's queue into the central spool. A message is acknowledged only after the segment that holds it, and its name, are
 * fsynced; a crash between makes the broker hand it over again, and processors take the same batch twice as once.
 */
import * as z from 'zod';
import { type Broker, ChannelClosed, connectBroker } from '../amqp/broker.ts';
import { brokerKeys, brokerName, isTlsUsed, TLS_UNUSED } from '../amqp/options.ts';
import { type GroupLimits, Receiver } from '../amqp/receive.ts';
import { deadLetters, declareTopology, queueLength } from '../amqp/topology.ts';
import { pause } from '../amqp/wait.ts';
import { DsacError, errorCode, reasonOf } from '../errors.ts';
import { holdYoungSpace } from '../heap.ts';
import type { Log } from '../log.ts';
import { DestinationDown } from '../plugin/handler.ts';
import { NoRoom, type Quota, Room } from '../spool/quota.ts';
import type { Spool } from '../spool/spool.ts';
import { Intake } from './intake.ts';

/** A group is closed at these. */
const GROUP_MESSAGES = 500;
const GROUP_BYTES = 8 * 1024 * 1024;
/**
 * A group is closed so long after its first message (`linger`), and nothing may have come for so long (`idle`) before the queue is asked for more, in ms.
 * One that stays makes fewer segments of what trickles in.
 */
const STAYING = { linger: 200, idle: 150 };
const LEAVING = { linger: 50, idle: 50 };
/** Messages that a queue gave up on are handed over by so many: what was too much for one consumer at once is not here. */
const DEAD_PREFETCH = 10;
/**
 * While a queue does not become empty such messages are looked for after so long, in ms, and then so often. Not at once: where one of them ends
 * the process each time, the others get on in between.
 */
const DEAD_FIRST = 10_000;
const DEAD_EVERY = 60_000;
/** First and longest wait before connecting again, in ms; drawn evenly from zero up ("full jitter"). */
const FIRST_WAIT = 1_000;
const LONGEST_WAIT = 60_000;
/** How long one that follows waits, in ms, before it looks again whether a full spool has room. */
const ROOM_WAIT = 5_000;

/** The `consume` section of the configuration. */
export const consumeSchema = z
  .strictObject({
    ...brokerKeys,
    queue: z.string().min(1).max(200).default('dsac').describe('queue to consume'),
    exchange: z
      .string()
      .min(1)
      .max(255)
      .default('dsac')
      .describe('topic exchange that the queue is bound to, where it must be declared'),
    prefetch: z
      .int()
      .min(1)
      .max(10_000)
      .default(1000)
      .describe(
        'messages that the broker may hand over ahead; they are in memory until their segment is written',
      ),
  })
  .refine(isTlsUsed, TLS_UNUSED);

export type ConsumeOptions = z.infer<typeof consumeSchema>;

export interface ConsumeRun {
  readonly options: ConsumeOptions;
  /** What relative paths in the options are below. */
  readonly home: string;
  /** The central spool. */
  readonly spool: Spool;
  readonly log: Log;
  /** Told to stop: what has been handed over is finished first. */
  readonly signal: AbortSignal;
  /** Stay and reconnect, instead of leaving when the queue is empty. */
  readonly follow: boolean;
  readonly maxTimeMs?: number;
  /** How much the spool may hold. */
  readonly quota: Quota;
  /** While the queue does not become empty, when what it gave up on is looked for first; 10 s when left out. */
  readonly firstLookMs?: number;
}

export interface Consumed {
  readonly messages: number;
  readonly batches: number;
  readonly segments: number;
  readonly bytes: number;
  /** Messages, or parts of them, that were no batch: quarantined. */
  readonly corrupt: number;
  /** Batches that came more than once in one group. */
  readonly duplicates: number;
  /** Of the messages, those that the queue had given up on. */
  readonly recovered: number;
  /** Why it ended before the queue was empty, when the connection was lost after some had been taken. */
  readonly lost?: string;
  /** Set when it ended for lack of room: what is in the queue is still there. */
  readonly full?: NoRoom;
}

/** One process' work: what it has taken, and the room that there is for more. */
interface Work {
  readonly run: ConsumeRun;
  readonly intake: Intake;
  readonly room: Room;
}

/** Declares exchange, queue and dead letter queue on the broker; repeating it changes nothing. */
export async function setUp(options: ConsumeOptions, home: string): Promise<void> {
  await connected({ options, home }, 'dsac consume --setup', (broker) => declareTopology(broker, options));
}

async function connected<T>(
  { options, home }: Pick<ConsumeRun, 'options' | 'home'>,
  purpose: string,
  work: (broker: Broker) => Promise<T>,
): Promise<T> {
  try {
    const broker = await connectBroker(options, home, purpose);
    try {
      return await work(broker);
    } finally {
      await broker.close();
    }
  } catch (error) {
    if (error instanceof DestinationDown)
      throw new DsacError('unavailable', error.message, { cause: error.cause });
    if (error instanceof ChannelClosed)
      throw new DsacError(
        error.code === 403 ? 'noperm' : 'unavailable',
        `${brokerName(options.url)}: ${error.message}`,
        { cause: error },
      );
    throw error;
  }
}

/** A queue to empty, and what else is done while that goes on. */
interface Emptying {
  readonly queue: string;
  readonly prefetch: number;
  /** Stay although the queue is empty. */
  readonly follow: boolean;
  /** Done after each look at the queue. */
  between(): Promise<void>;
}

/** Takes a queue's messages until it is empty (unless following), `stop` aborts, or the connection is lost. */
async function empty(
  { intake, room }: Work,
  broker: Broker,
  stop: AbortSignal,
  { queue, prefetch, follow, between }: Emptying,
): Promise<void> {
  const receiver = await Receiver.open(broker, queue, prefetch);
  const { linger, idle } = follow ? STAYING : LEAVING;
  // A third of the window is written, another looked through, while the broker fills the last.
  const limits: GroupLimits = {
    messages: Math.min(GROUP_MESSAGES, Math.ceil(prefetch / 3)),
    bytes: GROUP_BYTES,
    lingerMs: linger,
  };
  const hurry = AbortSignal.any([stop, receiver.gone]);
  // One group is written while the next is taken and looked through; both are acknowledged in their order.
  let writing: Promise<void> = Promise.resolve();
  const store = async (idleMs: number): Promise<boolean> => {
    const messages = await receiver.take(limits, idleMs, hurry);
    const last = messages.at(-1);
    const write = last && (await intake.open(messages));
    await writing;
    if (!write) return false;
    writing = write().then(() => {
      room.add(messages.reduce((sum, { content }) => sum + content.length, 0));
      receiver.acknowledge(last);
    });
    // Whoever waits for it next hears of it.
    writing.catch(() => {});
    return true;
  };
  let full: unknown;
  while (!hurry.aborted) {
    // A delivery that is handed back counts against the message: so no more are asked for, and those handed over are still taken.
    full = await room.require().catch((error: unknown) => error);
    if (full !== undefined) break;
    const some = await store(idle);
    holdYoungSpace();
    if (!some && !follow && (hurry.aborted || (await receiver.isEmpty()))) break;
    await between();
  }
  await receiver.stop();
  // Finish what was handed over before the broker heard of the end.
  while (receiver.alive && (await store(0)));
  await writing;
  await receiver.close();
  if (receiver.gone.aborted) throw receiver.gone.reason;
  if (full !== undefined) throw full;
}

/**
 * Takes in what the queue gave up on, which is whole batches: consumers that were killed, or messages that together were too much for one. So
 * few at a time, and after all others.
 */
async function recover(work: Work, broker: Broker, stop: AbortSignal): Promise<void> {
  const { run, intake } = work;
  const queue = deadLetters(run.options.queue);
  // A count of 0 may be wrong (see Receiver.isEmpty); then the next run takes them.
  const messages = await queueLength(broker, queue);
  if (!messages || stop.aborted) return;
  const before = intake.count.messages;
  const nothing = async (): Promise<void> => {};
  await empty(work, broker, stop, { queue, prefetch: DEAD_PREFETCH, follow: false, between: nothing });
  const recovered = intake.count.messages - before;
  intake.count.recovered += recovered;
  run.log.warn({ queue, messages: recovered }, 'taken in what the queue had given up on');
}

/** One connection's worth of consuming: until the queue is empty (unless following), `stop` aborts, or the connection is lost. */
async function drain(work: Work, broker: Broker, stop: AbortSignal): Promise<void> {
  const { queue, prefetch } = work.run.options;
  const { follow } = work.run;
  if ((await queueLength(broker, queue)) === undefined) await declareTopology(broker, work.run.options);
  let due = performance.now() + (work.run.firstLookMs ?? DEAD_FIRST);
  const between = async (): Promise<void> => {
    if (performance.now() < due) return;
    due = performance.now() + DEAD_EVERY;
    await recover(work, broker, stop);
  };
  await empty(work, broker, stop, { queue, prefetch, follow, between });
  await recover(work, broker, stop);
}

function diskTrouble(error: unknown, spool: Spool): unknown {
  if (error instanceof DestinationDown || error instanceof DsacError || errorCode(error) === undefined)
    return error;
  return new DsacError('io', `cannot write to ${spool.root}: ${reasonOf(error)}`, {
    cause: error,
    hint: 'what was not written was not acknowledged: the broker still has it',
  });
}

/** Consumes once. Answers why the connection was lost when it was lost after something had been taken; throws when nothing was. */
async function once(work: Work, stop: AbortSignal): Promise<string | undefined> {
  const { run, intake, room } = work;
  const before = intake.count.messages;
  try {
    await room.require();
    await connected(run, 'dsac consume', (broker) => drain(work, broker, stop));
    return undefined;
  } catch (error) {
    const lost = error instanceof DsacError && error.kind === 'unavailable';
    if (lost && intake.count.messages > before) return error.message;
    throw diskTrouble(error, run.spool);
  }
}

/** Consumes and connects again whenever the broker goes, until `stop` aborts. */
async function follow(work: Work, stop: AbortSignal): Promise<void> {
  const { run } = work;
  let failures = 0;
  while (!stop.aborted) {
    let reason: string | undefined;
    try {
      reason = await once(work, stop);
      failures = 0;
    } catch (error) {
      if (error instanceof NoRoom) {
        run.log.warn({ reason: error.message }, 'no room: taking nothing until there is');
        await pause(ROOM_WAIT, stop);
        continue;
      }
      if (!(error instanceof DsacError && error.kind === 'unavailable')) throw error;
      reason = error.message;
    }
    if (stop.aborted) return;
    const wait = Math.random() * Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** Math.min(failures++, 20));
    run.log.warn({ reason, wait_ms: Math.round(wait) }, 'broker lost: connecting again');
    await pause(wait, stop);
  }
}

/**
 * Consumes a queue into the spool: until it is empty, or with `follow` until told to stop. The queue is declared when it does not exist.
 * Throws `unavailable` when the broker cannot be reached, `io` when the spool cannot be written; neither loses a message. A full spool ends it, or lets it
 * wait when it follows.
 */
export async function consume(run: ConsumeRun): Promise<Consumed> {
  await run.spool.create();
  const intake = new Intake(run.spool, run.log, Date.now());
  const limit = run.maxTimeMs === undefined ? [] : [AbortSignal.timeout(run.maxTimeMs)];
  const stop = AbortSignal.any([run.signal, ...limit]);
  const hint =
    'nothing is lost: the broker keeps what is not taken. dsac spool stat --stack in shows what waits; dsac process works it off; or raise quota.in in dsac.yaml';
  const work = { run, intake, room: new Room(run.spool, run.quota, hint) };
  if (run.follow) {
    await follow(work, stop);
    return intake.count;
  }
  try {
    const lost = await once(work, stop);
    return lost === undefined ? intake.count : { ...intake.count, lost };
  } catch (error) {
    if (error instanceof NoRoom) return { ...intake.count, full: error };
    throw error;
  }
}
