/** The real RabbitMQ and MariaDB of a test run, and names of a test's own in them. Which ones they are is decided by global-setup.ts. */
import { randomBytes } from 'node:crypto';
import type { TestContext } from 'node:test';
import { connectionOf } from './private-services.ts';

/** For a test's `skip` option: why tests with services are left out, or false. */
export const servicesLeftOut: string | false =
  process.env.DSAC_TEST_SERVICES === 'skip' && 'left out: DSAC_TEST_SERVICES=skip';

/** The broker that tests may use. */
export function amqpUrl(): string {
  return process.env.DSAC_TEST_AMQP || 'amqp://guest:guest@127.0.0.1:5672';
}

/** The database server that tests may use: `mysql://user@host:port`. */
export function mysqlUrl(): string {
  return process.env.DSAC_TEST_MYSQL || 'mysql://root@127.0.0.1:3306';
}

/** Exchange and queue names that nobody else uses; what is declared under them goes when the test ends. */
export interface OwnQueue {
  readonly url: string;
  readonly exchange: string;
  readonly queue: string;
}

/** Names of the test's own on the broker. Nothing is declared yet. */
export function ownQueue(t: TestContext): OwnQueue {
  const name = `dsac-test-${randomBytes(8).toString('hex')}`;
  t.after(async () => {
    const { default: amqplib } = await import('amqplib');
    const connection = await amqplib.connect(amqpUrl());
    const channel = await connection.createChannel();
    for (const own of [name, `${name}.dead`]) {
      await channel.deleteQueue(own);
      await channel.deleteExchange(own);
    }
    await connection.close();
  });
  return { url: amqpUrl(), exchange: name, queue: name };
}

/** Makes a database of the test's own and answers its URL; it is dropped when the test ends. */
export async function ownDatabase(t: TestContext): Promise<string> {
  const name = `dsac_test_${randomBytes(8).toString('hex')}`;
  await statement(`create database ${name} character set utf8mb4`);
  t.after(() => statement(`drop database ${name}`));
  const url = new URL(mysqlUrl());
  url.pathname = `/${name}`;
  return url.href;
}

async function statement(sql: string): Promise<void> {
  await onDatabase(mysqlUrl(), sql);
}

/** Runs one statement past the store, on a connection of its own; answers its rows. */
export async function onDatabase(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const { createConnection } = await import('mysql2/promise');
  const database = new URL(url).pathname.slice(1);
  const connection = await createConnection({
    ...connectionOf(url),
    ...(database === '' ? {} : { database }),
  });
  try {
    const [rows] = await connection.query(sql);
    return Array.isArray(rows) ? (rows as Record<string, unknown>[]) : [];
  } finally {
    connection.destroy();
  }
}
