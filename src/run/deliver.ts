/**
 * Drives the handlers of a spool, on either side: routes what is new, hands each handler its queue in groups, and acts on its answers. A
 * handler that is slow, down or broken delays only itself (P4): each has its own lock, deadline and backoff.
 */
import { join } from 'node:path';
import { adviceOf, reasonOf } from '../errors.ts';
import { takeLock } from '../lock.ts';
import { SIGHTINGS, sweepLeftovers } from '../spool/leftovers.ts';
import { isLeftover } from '../spool/names.ts';
import { isFull } from '../spool/quota.ts';
import type { Interest, Routed } from '../spool/spool.ts';
import { isToWait, readDestination } from './destination.ts';
import { type DeliverRun, type Delivery, handlersDirectory, type Post, wants } from './post.ts';
import { Round } from './round.ts';
import { Supply } from './supply.ts';

export interface Delivered {
  readonly routed: Routed | undefined;
  /** Why not all that is new could be routed. What was routed before is delivered all the same. */
  readonly unrouted?: string;
  readonly deliveries: readonly Delivery[];
  /** Queues of handlers that are not configured (any more), with files in them. */
  readonly orphans: readonly { readonly handler: string; readonly files: number }[];
}

const nothingDelivered = ({ name }: Post) => ({ handler: name, delivered: 0, deferred: 0, failed: 0 });

async function drive(run: DeliverRun, post: Post, supply: Supply): Promise<Delivery> {
  const none = nothingDelivered(post);
  const directory = handlersDirectory(run.paths, run.stack);
  using lock = takeLock(join(directory, `${post.name}.lock`));
  if (!lock) return { ...none, outcome: 'busy' };
  const destination = await readDestination(run.spool.disk, directory, post.name);
  const { nextTry, lastError, failingSince } = destination;
  const waits = isToWait(destination, run.clock());
  if (waits && !run.only) {
    return {
      ...none,
      outcome: 'waiting',
      reason: `${lastError}; next try ${nextTry}`,
      ...(failingSince === null ? {} : { failingSince }),
    };
  }
  const delivery = await new Round(run, post, supply, destination).work();
  run.log.info({ ...delivery }, `${post.name}: ${delivery.outcome}`);
  return delivery;
}

/** Lets one handler work. Never throws: what goes wrong with one is no reason to stop the others. */
async function runPost(run: DeliverRun, post: Post, supply: Supply): Promise<Delivery> {
  try {
    return await drive(run, post, supply);
  } catch (error) {
    const reason = adviceOf(error);
    run.log.error({ handler: post.name, reason }, 'broken');
    return { ...nothingDelivered(post), outcome: 'broken', reason };
  }
}

async function route(run: DeliverRun, posts: readonly Post[], supply: Supply): Promise<Routed | undefined> {
  using lock = takeLock(join(handlersDirectory(run.paths, run.stack), 'route.lock'));
  if (!lock) return undefined;
  const interests: Interest[] = posts.map((post) => ({
    handler: post.name,
    wants: (agent) => wants(post, agent),
  }));
  await sweep(run);
  // Awaited here: the lock is let go of when this function returns.
  return await run.spool.route(interests, {
    signal: run.signal,
    gate: run.gate,
    handOn: supply.handOn,
    handed: supply.handed,
    // What leaves a node comes to a door where each is verified.
    signatures: run.stack === 'out' ? 'vouched' : 'verified',
  });
}

/** Clears the spool's `tmp` of what crashes left. That it cannot is no reason not to deliver. */
async function sweep({ spool, stack, paths, log }: DeliverRun): Promise<void> {
  async function* leftovers(): AsyncGenerator<string> {
    for await (const name of spool.disk.list(spool.directory('tmp')))
      if (isLeftover(stack, name)) yield join(spool.directory('tmp'), name);
  }
  try {
    const memory = join(handlersDirectory(paths, stack), SIGHTINGS);
    const removed = await sweepLeftovers(spool.disk, memory, leftovers());
    if (removed.length > 0) log.warn({ removed }, 'removed what a crash had left half-written');
  } catch (error) {
    log.warn({ reason: reasonOf(error) }, 'cannot sweep tmp');
  }
}

/** On a full disk nothing can be routed, but delivering what was makes room. */
async function routeOrWhy(
  run: DeliverRun,
  posts: readonly Post[],
  supply: Supply,
): Promise<Pick<Delivered, 'routed' | 'unrouted'>> {
  try {
    return { routed: await route(run, posts, supply) };
  } catch (error) {
    if (!isFull(error)) throw error;
    const unrouted = `cannot route in ${run.spool.root}: ${reasonOf(error)}`;
    run.log.error({ reason: unrouted }, 'not routed');
    return { routed: undefined, unrouted };
  } finally {
    supply.end();
  }
}

async function orphans(run: DeliverRun, posts: readonly Post[]): Promise<Delivered['orphans']> {
  const found: { handler: string; files: number }[] = [];
  for (const handler of await run.spool.handlers('queue')) {
    if (posts.some(({ name }) => name === handler)) continue;
    let files = 0;
    for await (const _ of run.spool.files('queue', handler)) files++;
    if (files > 0) found.push({ handler, files });
  }
  return found;
}

/**
 * Routes what is new to all posts, and lets the posts (or those that `only` names) work side by side until routing is done and their queues are
 * empty: the first batch of a long backlog need not wait for the last to be routed. What stops routing stops no post; it is thrown when they are done.
 */
export async function deliver(run: DeliverRun, posts: readonly Post[]): Promise<Delivered> {
  await run.spool.create();
  const supply = new Supply();
  const driven = posts.filter(({ name }) => run.only?.includes(name) ?? true);
  const routing = routeOrWhy(run, posts, supply);
  // What it rejects with is thrown below.
  routing.catch(() => {});
  const deliveries = await Promise.all(driven.map((post) => runPost(run, post, supply)));
  const routed = await routing;
  const left = await orphans(run, posts);
  return { ...routed, deliveries, orphans: left };
}
