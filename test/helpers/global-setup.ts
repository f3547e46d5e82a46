/**
 * Finds the RabbitMQ and the MariaDB that the tests of one run share: those that the environment names, else the usual local ones, else private
 * ones started from installed binaries, else (as root on Debian) installed first. Where none of that can be, the run fails. Loaded by
 * `node --test --test-global-setup=test/helpers/global-setup.ts`, which hands its environment to every test file.
 */
import { spawnSync } from 'node:child_process';
import {
  installed,
  lacksMariaDb,
  lacksRabbitMq,
  type PrivateService,
  pingMySql,
  pingRabbitMq,
  startMariaDb,
  startRabbitMq,
} from './private-services.ts';

interface Service {
  readonly name: string;
  readonly variable: 'DSAC_TEST_AMQP' | 'DSAC_TEST_MYSQL';
  readonly usual: readonly string[];
  readonly debianPackage: string;
  ping(url: string): Promise<void>;
  /** What is missing to start a private one. */
  lacks(): string | undefined;
  start(): Promise<PrivateService>;
}

const SERVICES: readonly Service[] = [
  {
    name: 'RabbitMQ',
    variable: 'DSAC_TEST_AMQP',
    usual: ['amqp://guest:guest@127.0.0.1:5672'],
    debianPackage: 'rabbitmq-server',
    ping: pingRabbitMq,
    lacks: lacksRabbitMq,
    start: startRabbitMq,
  },
  {
    name: 'MariaDB',
    variable: 'DSAC_TEST_MYSQL',
    usual: ['mysql://root@127.0.0.1:3306', 'mysql://root@localhost?socket=/run/mysqld/mysqld.sock'],
    debianPackage: 'mariadb-server',
    ping: pingMySql,
    lacks: lacksMariaDb,
    start: startMariaDb,
  },
];

const started: PrivateService[] = [];

function say(text: string): void {
  process.stderr.write(`test services: ${text}\n`);
}

/** The first usual address where the service answers. */
async function usual({ usual, ping }: Service): Promise<string | undefined> {
  if (process.env.DSAC_TEST_SERVICES === 'private') return undefined;
  for (const url of usual) {
    try {
      await ping(url);
      return url;
    } catch {
      // not there: try the next
    }
  }
  return undefined;
}

/** Installs what is missing from Debian's packages without starting it. */
function install({ debianPackage }: Service): string | undefined {
  if (process.getuid?.() !== 0) return 'not root, so it cannot be installed';
  const apt = installed('apt-get');
  if (apt === undefined) return 'no apt-get, so it cannot be installed';
  say(`installing ${debianPackage} with apt-get`);
  // Run level 1 keeps the package from starting its service: the tests use one of their own.
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
  spawnSync(apt, ['update', '-q'], { env, stdio: ['ignore', 2, 2] });
  const { status } = spawnSync(apt, ['install', '-y', '-q', '--no-install-recommends', debianPackage], {
    env,
    stdio: ['ignore', 2, 2],
  });
  return status === 0 ? undefined : `apt-get install ${debianPackage}: exit ${status}`;
}

async function startPrivate(service: Service): Promise<string> {
  const failed = service.lacks() === undefined ? undefined : install(service);
  const lacking = service.lacks();
  if (lacking !== undefined) {
    throw new Error(
      `${service.name}: none at ${service.usual.join(' or ')}, and none can be started: ${lacking}${failed === undefined ? '' : `; ${failed}`}. ` +
        `Set ${service.variable} to one that tests may use, or DSAC_TEST_SERVICES=skip to leave its tests out.`,
    );
  }
  const running = await service.start();
  started.push(running);
  return running.url;
}

async function provide(service: Service): Promise<void> {
  const named = process.env[service.variable];
  if (named) {
    await service.ping(named).catch((error: unknown) => {
      throw new Error(`${service.variable} names a ${service.name} that does not answer`, { cause: error });
    });
    return;
  }
  const found = await usual(service);
  const url = found ?? (await startPrivate(service));
  process.env[service.variable] = url;
  say(`${service.name} at ${url}${found === undefined ? ' (private, ends with the tests)' : ''}`);
}

/** Before the first test file. */
export async function globalSetup(): Promise<void> {
  if (process.env.DSAC_TEST_SERVICES === 'skip') {
    say('DSAC_TEST_SERVICES=skip: tests with RabbitMQ and MariaDB are left out');
    return;
  }
  try {
    for (const service of SERVICES) await provide(service);
  } catch (error) {
    await globalTeardown();
    throw error;
  }
}

/** After the last test file. */
export async function globalTeardown(): Promise<void> {
  for (const service of started.splice(0)) await service.stop();
}
