/** Starts a RabbitMQ and a MariaDB of the tests' own from installed binaries: own folder, own ports, ended with the test run. */
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const execFileP = promisify(execFile);
const START_TIMEOUT = 90_000;
const STOP_TIMEOUT = 20_000;

/** A running service: where it is, how to break it, and how to end it. */
export interface PrivateService {
  readonly url: string;
  /** Ends it for good; its data goes. */
  stop(): Promise<void>;
  /** Ends it with SIGTERM, as a host does that is shut down; its data stays. */
  halt(): Promise<void>;
  /** Ends it with SIGKILL. */
  kill(): Promise<void>;
  /** Starts it again after `halt` or `kill`, on the same port and data. */
  again(): Promise<void>;
  /** SIGSTOP: connections stay open, and nobody answers. */
  pause(): void;
  /** SIGCONT. */
  resume(): void;
}

/** A RabbitMQ of a test's own. */
export interface PrivateRabbitMq extends PrivateService {
  /** Runs rabbitmqctl on it; answers its stdout. */
  control(...args: string[]): Promise<string>;
}

const RABBITMQ = [
  '/usr/lib/rabbitmq/bin/rabbitmq-server',
  '/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server',
];

const RABBITMQCTL = [
  '/usr/lib/rabbitmq/bin/rabbitmqctl',
  '/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmqctl',
];

/** A MariaDB of a test's own. */
export interface PrivateMariaDb extends PrivateService {
  /** Where its data lies: each database is a directory there. */
  readonly datadir: string;
}

/** The first of these commands that is installed, by absolute path or glob, or by name in PATH and the system's directories. */
export function installed(...commands: readonly string[]): string | undefined {
  const directories = [
    ...(process.env.PATH ?? '').split(delimiter),
    '/usr/sbin',
    '/usr/local/sbin',
    '/usr/bin',
  ];
  for (const command of commands) {
    const found = command.startsWith('/')
      ? globSync(command)[0]
      : directories.map((directory) => join(directory, command)).find((path) => existsSync(path));
    if (found !== undefined) return found;
  }
  return undefined;
}

/** What is missing to start RabbitMQ, or undefined. */
export function lacksRabbitMq(): string | undefined {
  if (installed(...RABBITMQ) === undefined) return 'rabbitmq-server is not installed';
  return installed('epmd') === undefined ? 'epmd (Erlang) is not installed' : undefined;
}

/** What is missing to start MariaDB, or undefined. */
export function lacksMariaDb(): string | undefined {
  if (installed('mariadbd', 'mysqld') === undefined) return 'mariadbd is not installed';
  return installed('mariadb-install-db') === undefined ? 'mariadb-install-db is not installed' : undefined;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  if (typeof address !== 'object' || address === null) throw new Error('no free port');
  return address.port;
}

function killGroup({ pid, exitCode, signalCode }: ChildProcess, signal: NodeJS.Signals): void {
  if (pid === undefined || exitCode !== null || signalCode !== null) return;
  try {
    process.kill(-pid, signal);
  } catch {
    // it has just ended by itself
  }
}

/** A daemon in a process group and folder of its own. */
class Daemon {
  readonly folder: string;
  readonly #log: string;
  readonly #atEnd: () => void;
  #child: ChildProcess | undefined;
  /** Starts the same again. */
  again = (): Promise<void> => Promise.reject(new Error('it was never started'));

  /** `atEnd` cleans up what is outside of the process group. */
  constructor(name: string, atEnd = (): void => {}) {
    this.folder = mkdtempSync(join(tmpdir(), `dsac-test-${name}-`));
    this.#log = join(this.folder, 'output.log');
    this.#atEnd = atEnd;
    process.on('exit', this.#abandon);
  }

  get output(): string {
    return readFileSync(this.#log, 'utf8').slice(-2000);
  }

  /** Starts the command and waits until `ready` stops throwing. */
  async start(
    command: string,
    args: string[],
    env: NodeJS.ProcessEnv,
    ready: () => Promise<void>,
  ): Promise<void> {
    this.again = () => this.start(command, args, env, ready);
    const log = openSync(this.#log, 'a');
    const child = spawn(command, args, {
      cwd: this.folder,
      env,
      stdio: ['ignore', log, log],
      detached: true,
    });
    closeSync(log);
    this.#child = child;
    const until = Date.now() + START_TIMEOUT;
    for (;;) {
      try {
        return await ready();
      } catch (error) {
        if (child.exitCode !== null || child.signalCode !== null || Date.now() > until)
          throw new Error(`${command} did not start: ${this.output}`, { cause: error });
      }
      await sleep(250);
    }
  }

  /** Leaves nothing behind, at once: the test run ends without its teardown. */
  readonly #abandon = (): void => {
    if (this.#child) killGroup(this.#child, 'SIGKILL');
    this.#atEnd();
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  };

  /** Signals the whole group. */
  signal(signal: NodeJS.Signals): void {
    if (this.#child) killGroup(this.#child, signal);
  }

  /** Ends it by a signal, or by SIGKILL when it does not heed it. */
  async end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    killGroup(child, signal);
    await Promise.race([gone, sleep(STOP_TIMEOUT, undefined, { ref: false })]);
    killGroup(child, 'SIGKILL');
  }

  async stop(): Promise<void> {
    await this.end('SIGTERM');
    this.#abandon();
    process.off('exit', this.#abandon);
  }
}

function serviceOf(url: string, daemon: Daemon): PrivateService {
  return {
    url,
    stop: () => daemon.stop(),
    halt: () => daemon.end('SIGTERM'),
    kill: () => daemon.end('SIGKILL'),
    again: () => daemon.again(),
    pause: () => daemon.signal('SIGSTOP'),
    resume: () => daemon.signal('SIGCONT'),
  };
}

/** Throws unless a RabbitMQ answers at `url`. */
export async function pingRabbitMq(url: string): Promise<void> {
  const { default: amqplib } = await import('amqplib');
  const connection = await amqplib.connect(url, { timeout: 5_000 });
  connection.on('error', () => {});
  await connection.close();
}

/** Throws unless a MariaDB or MySQL answers at `url` (`mysql://user@host:port`, `?socket=` for a local socket). */
export async function pingMySql(url: string): Promise<void> {
  const { createConnection } = await import('mysql2/promise');
  const connection = await createConnection({ ...connectionOf(url), connectTimeout: 5_000 });
  await connection.query('select 1');
  await connection.end();
}

/** The parts of a database URL in mysql2's words. */
export function connectionOf(url: string): {
  host: string;
  port: number;
  user: string;
  password: string;
  socketPath?: string;
} {
  const { hostname, port, username, password, searchParams } = new URL(url);
  const socketPath = searchParams.get('socket');
  return {
    host: hostname || 'localhost',
    port: Number(port) || 3306,
    user: decodeURIComponent(username) || 'root',
    password: decodeURIComponent(password),
    ...(socketPath === null ? {} : { socketPath }),
  };
}

/** Starts RabbitMQ with an epmd of its own, so that no other Erlang node on this machine is seen or touched. */
export async function startRabbitMq(): Promise<PrivateRabbitMq> {
  const [port, distribution, epmd] = [await freePort(), await freePort(), await freePort()];
  const stopEpmd = (): void => {
    spawnSync(installed('epmd')!, ['-port', String(epmd), '-kill'], { stdio: 'ignore' });
  };
  const daemon = new Daemon('rabbitmq', stopEpmd);
  const file = (name: string, content: string): string => {
    const path = join(daemon.folder, name);
    writeFileSync(path, content);
    return path;
  };
  const env = {
    ...process.env,
    HOME: daemon.folder,
    ERL_EPMD_PORT: String(epmd),
    ERL_EPMD_ADDRESS: '127.0.0.1',
    RABBITMQ_NODENAME: `dsac-test-${port}@localhost`,
    RABBITMQ_NODE_PORT: String(port),
    RABBITMQ_DIST_PORT: String(distribution),
    RABBITMQ_MNESIA_BASE: join(daemon.folder, 'data'),
    RABBITMQ_LOG_BASE: join(daemon.folder, 'log'),
    RABBITMQ_PID_FILE: join(daemon.folder, 'pid'),
    RABBITMQ_CONF_ENV_FILE: file('env.conf', ''),
    RABBITMQ_CONFIG_FILE: file('rabbitmq.conf', `listeners.tcp.local = 127.0.0.1:${port}\n`),
    RABBITMQ_ENABLED_PLUGINS_FILE: file('plugins', '[].\n'),
  };
  const url = `amqp://guest:guest@127.0.0.1:${port}`;
  await daemon.start(installed(...RABBITMQ)!, [], env, () => pingRabbitMq(url));
  const control = async (...args: string[]): Promise<string> =>
    (await execFileP(installed(...RABBITMQCTL)!, args, { env })).stdout;
  return { ...serviceOf(url, daemon), control };
}

/** Starts MariaDB; root needs no password. */
export async function startMariaDb(): Promise<PrivateMariaDb> {
  const daemon = new Daemon('mariadb');
  const port = await freePort();
  const datadir = join(daemon.folder, 'data');
  mkdirSync(datadir);
  const common = ['--no-defaults', `--datadir=${datadir}`, `--user=${userInfo().username}`];
  const made = spawnSync(
    installed('mariadb-install-db')!,
    [...common, '--auth-root-authentication-method=normal', '--skip-test-db'],
    { encoding: 'utf8' },
  );
  if (made.status !== 0)
    throw new Error(`mariadb-install-db: exit ${made.status}: ${made.stderr}${made.stdout}`);
  const url = `mysql://root@127.0.0.1:${port}`;
  await daemon.start(
    installed('mariadbd', 'mysqld')!,
    [
      ...common,
      `--port=${port}`,
      '--bind-address=127.0.0.1',
      `--socket=${join(daemon.folder, 'socket')}`,
      `--pid-file=${join(daemon.folder, 'pid')}`,
    ],
    process.env,
    () => pingMySql(url),
  );
  return { ...serviceOf(url, daemon), datadir };
}
