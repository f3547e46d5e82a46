/**
 * Finds the RabbitMQ and the MariaDB that the tests of one run share: those that the environment names, else the usual local ones, else private
 * ones started from installed binaries, else (as root on Debian) installed first. Where none of that can be, the run fails. Loaded by
 * `node --test --test-global-setup=test/helpers/global-setup.ts`, which hands its environment to every test file.
 */
import { DsacError, reasonOf } from '../../src/errors.ts';
import { install } from './apt.ts';
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

/** Installs `debianPackage` when something is lacking; answers what is lacking even then. */
function provideCommand(debianPackage: string, lacks: () => string | undefined): string | undefined {
  if (lacks() === undefined) return undefined;
  if (process.getuid?.() === 0) say(`installing ${debianPackage} with apt-get`);
  const failed = install([debianPackage]);
  const lacking = lacks();
  return lacking === undefined || failed === undefined ? lacking : `${lacking}; ${failed}`;
}

async function startPrivate(service: Service): Promise<string> {
  const failed = provideCommand(service.debianPackage, service.lacks);
  if (failed !== undefined) {
    throw new DsacError(
      'unavailable',
      `${service.name}: none at ${service.usual.join(' or ')}, and none can be started: ${failed}`,
      {
        hint: `install ${service.debianPackage}, or set ${service.variable} to one that tests may use, or DSAC_TEST_SERVICES=skip to leave its tests out`,
      },
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

/** The tests with TLS make certificates of their own. */
function provideOpenssl(): void {
  const failed = provideCommand('openssl', () =>
    installed('openssl') ? undefined : 'openssl is not installed',
  );
  if (failed !== undefined)
    throw new DsacError('unavailable', failed, {
      hint: 'install openssl, or set DSAC_TEST_SERVICES=skip to leave the tests that need it out',
    });
}

/** Before the first test file. Where services cannot be had the run ends here, with what to do and without a stack. */
export async function globalSetup(): Promise<void> {
  if (process.env.DSAC_TEST_SERVICES === 'skip') {
    say('DSAC_TEST_SERVICES=skip: tests with RabbitMQ and MariaDB are left out');
    return;
  }
  try {
    provideOpenssl();
    for (const service of SERVICES) await provide(service);
  } catch (error) {
    await globalTeardown();
    say(`error: ${reasonOf(error)}`);
    if (error instanceof DsacError && error.hint !== undefined) say(`hint: ${error.hint}`);
    process.exit(1);
  }
}

/** After the last test file. */
export async function globalTeardown(): Promise<void> {
  for (const service of started.splice(0)) await service.stop();
}
