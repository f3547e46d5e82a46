/** Peers on the network that behave as a test needs: silent, cutting, speaking TLS. All in front of 127.0.0.1 only. */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import type { TestContext } from 'node:test';
import { createServer as createTlsServer } from 'node:tls';
import { temporary } from './tree.ts';

async function listening(t: TestContext, server: Server, sockets: Set<Socket>): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  if (typeof address !== 'object' || address === null) throw new Error('not listening');
  return address.port;
}

/** A peer that accepts and never says a word; answers its port. */
export async function silentPeer(t: TestContext): Promise<number> {
  const sockets = new Set<Socket>();
  return listening(
    t,
    createServer((socket) => sockets.add(socket.on('error', () => {}))),
    sockets,
  );
}

/** A way to a server that a test can cut or mute. */
export interface Wire {
  readonly port: number;
  /** Ends every connection through it. */
  cut(): void;
  /** From now on swallows what the server says, in connections that are open. */
  mute(): void;
  /** Lets through what the server says next, then mutes. */
  muteNext(): void;
  /** Says something in the server's name. */
  say(bytes: Uint8Array): void;
}

/** Joins two sockets, what `far` says by way of `answers` where that is given. */
function pipe(near: Socket, far: Socket, sockets: Set<Socket>, answers?: Transform): void {
  for (const socket of [near, far]) {
    sockets.add(socket);
    socket.on('error', () => {});
  }
  near.pipe(far);
  (answers ? far.pipe(answers) : far).pipe(near);
  near.on('close', () => far.destroy());
  far.on('close', () => near.destroy());
}

/** Pipes a port of its own to 127.0.0.1:`port`. */
export async function wireTo(t: TestContext, port: number): Promise<Wire> {
  const sockets = new Set<Socket>();
  const far = new Set<Socket>();
  const nears = new Set<Socket>();
  const server = createServer((near) => {
    const there = connect(port, '127.0.0.1');
    nears.add(near);
    far.add(there);
    pipe(near, there, sockets);
  });
  return {
    port: await listening(t, server, sockets),
    cut() {
      for (const socket of sockets) socket.destroy();
    },
    muteNext() {
      for (const socket of far) socket.once('data', () => socket.unpipe().resume());
    },
    mute() {
      for (const socket of far) socket.unpipe().resume();
    },
    say(bytes) {
      for (const socket of nears) socket.write(bytes);
    },
  };
}

/** queue.declare-ok, https://www.rabbitmq.com/amqp-0-9-1-reference: class 50, method 11. */
const DECLARE_OK = Buffer.from([0, 50, 0, 11]);

/** What a slow broker sends: each queue.declare-ok says that the queue holds nothing. */
function countingNothing(bytes: Buffer): Buffer {
  const changed = Buffer.from(bytes);
  for (let at = changed.indexOf(DECLARE_OK); at >= 0; at = changed.indexOf(DECLARE_OK, at + 1))
    changed.writeUInt32BE(0, at + 5 + changed[at + 4]!);
  return changed;
}

/**
 * A way to the broker on 127.0.0.1:`port` as it is under load: what it says comes `delayMs` late, and a queue that has not answered in time is
 * counted as empty.
 */
export async function slowBroker(t: TestContext, port: number, delayMs: number): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const late = new Transform({
      transform(bytes: Buffer, _encoding, done) {
        setTimeout(() => done(null, countingNothing(bytes)), delayMs);
      },
    });
    pipe(near, connect(port, '127.0.0.1'), sockets, late);
  });
  return listening(t, server, sockets);
}

/** PEM files of an authority, and of a certificate for `localhost` that it signed. */
export interface Authority {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

function openssl(folder: string, ...args: string[]): void {
  const { status, stderr } = spawnSync('openssl', args, { cwd: folder, encoding: 'utf8' });
  if (status !== 0) throw new Error(`openssl ${args[0]}: ${stderr}`);
}

/** Makes an authority that nobody trusts yet, for a day. */
export function throwAwayAuthority(t: TestContext): Authority {
  const folder = temporary(t);
  const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  openssl(
    folder,
    'req',
    '-x509',
    ...ec,
    '-days',
    '1',
    '-subj',
    '/CN=test authority',
    '-keyout',
    'ca.key',
    '-out',
    'ca.pem',
  );
  openssl(folder, 'req', ...ec, '-subj', '/CN=localhost', '-keyout', 'key.pem', '-out', 'request.pem');
  writeFileSync(join(folder, 'names'), 'subjectAltName=DNS:localhost\n');
  openssl(
    folder,
    'x509',
    '-req',
    '-in',
    'request.pem',
    '-CA',
    'ca.pem',
    '-CAkey',
    'ca.key',
    '-CAcreateserial',
    '-days',
    '1',
    '-extfile',
    'names',
    '-out',
    'cert.pem',
  );
  return { ca: join(folder, 'ca.pem'), cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') };
}

/** Speaks TLS on a port of its own in front of 127.0.0.1:`port`; asks for a certificate of `clients`' when given. */
export async function tlsInFrontOf(
  t: TestContext,
  port: number,
  { cert, key }: Authority,
  clients?: Authority,
): Promise<number> {
  const sockets = new Set<Socket>();
  const ask = clients && { ca: readFileSync(clients.ca), requestCert: true, rejectUnauthorized: true };
  const server = createTlsServer({ cert: readFileSync(cert), key: readFileSync(key), ...ask }, (near) =>
    pipe(near, connect(port, '127.0.0.1'), sockets),
  );
  server.on('tlsClientError', () => {});
  return listening(t, server, sockets);
}
