/** Stands before a server and harms the connections through it, each in a way of its own and after so many bytes. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Scope } from './fault.ts';

export const HARMS = ['delay', 'cut', 'reset', 'half-close', 'swallow'] as const;

/** What is done to a connection. */
export interface Plan {
  readonly harm: (typeof HARMS)[number];
  /** Which bytes are counted, and go nowhere from then on where the harm is not to all. */
  readonly towards: 'server' | 'client';
  readonly after: number;
  /** What is swallowed is swallowed in both directions. */
  readonly both: boolean;
}

/** The longest that one piece of a delayed connection waits, in ms. */
const LONGEST_DELAY = 20;

/** One connection: what came in on one side goes out on the other until it is harmed. */
class Relay {
  readonly #near: Socket;
  readonly #far: Socket;
  readonly #plan: Plan | undefined;
  readonly #harmed: () => void;
  #passed = 0;
  #done = false;
  /** Nothing goes either way any more. */
  #deaf = false;

  constructor(near: Socket, far: Socket, plan: Plan | undefined, harmed: () => void) {
    this.#near = near;
    this.#far = far;
    this.#plan = plan;
    this.#harmed = harmed;
    void this.#pass(near, far, plan?.towards === 'server');
    void this.#pass(far, near, plan?.towards === 'client');
  }

  async #pass(from: Socket, to: Socket, counted: boolean): Promise<void> {
    try {
      for await (const chunk of from as AsyncIterable<Buffer>) {
        if (counted && this.#plan) await this.#passHarmed(chunk, to, this.#plan);
        else if (!this.#deaf) await write(to, chunk);
      }
      to.end();
    } catch {
      // a side has gone: so does the other
      this.#near.destroy();
      this.#far.destroy();
    }
  }

  async #passHarmed(chunk: Buffer, to: Socket, plan: Plan): Promise<void> {
    const whole = Math.max(0, Math.min(chunk.length, plan.after - this.#passed));
    this.#passed += chunk.length;
    if (plan.harm === 'delay') await sleep(Math.random() * LONGEST_DELAY);
    if (plan.harm === 'delay' || whole === chunk.length) return write(to, chunk);
    if (whole > 0) await write(to, chunk.subarray(0, whole));
    if (!this.#done) this.#harm(to, plan);
  }

  #harm(to: Socket, { harm, both }: Plan): void {
    this.#done = true;
    this.#deaf = harm === 'swallow' && both;
    this.#harmed();
    if (harm === 'half-close') to.end();
    if (harm === 'reset') for (const socket of [this.#near, this.#far]) socket.resetAndDestroy();
    if (harm === 'cut') for (const socket of [this.#near, this.#far]) socket.destroy();
  }
}

/** Writes, and waits until there is room for more. What is written to a side that was half-closed goes nowhere. */
async function write(to: Socket, bytes: Buffer): Promise<void> {
  if (!to.writableEnded && !to.write(bytes)) await once(to, 'drain');
}

export class HarmfulProxy {
  readonly port: number;
  /** Asked for each connection; undefined lets it pass. */
  plan: () => Plan | undefined = () => undefined;
  /** Connections that were harmed. */
  harmed = 0;

  private constructor(port: number) {
    this.port = port;
  }

  /** Listens on a port of its own before 127.0.0.1:`port`, until the fault ends. */
  static async before(scope: Pick<Scope, 'defer'>, port: number): Promise<HarmfulProxy> {
    const open = new Set<Socket>();
    const server = createServer({ allowHalfOpen: true }, (near) => {
      const far = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
      for (const [one, other] of [
        [near, far],
        [far, near],
      ] as const) {
        open.add(one);
        one.on('error', () => {});
        one.on('close', () => {
          open.delete(one);
          other.destroy();
        });
      }
      const plan = proxy.plan();
      if (plan?.harm === 'delay') proxy.harmed++;
      new Relay(near, far, plan, () => proxy.harmed++);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    scope.defer(() => {
      for (const socket of open) socket.destroy();
      server.close();
    });
    const address = server.address();
    if (typeof address !== 'object' || address === null) throw new Error('not listening');
    const proxy = new HarmfulProxy(address.port);
    return proxy;
  }
}
