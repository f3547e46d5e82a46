/** How to reach a broker, as the configuration says it. A password never appears in a message or a log. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import type { ConnectionOptions } from 'node:tls';
import type { Options } from 'amqplib';
import * as z from 'zod';
import { readNamed, readPassword } from '../config/named-file.ts';
import { durationSchema } from '../config/schema.ts';
import { DsacError, reasonOf } from '../errors.ts';

const URL_FORM =
  'expected amqp://[user@]host[:port][/vhost], or amqps:// for TLS, and nothing after it (?…, #…)';
/** A dead peer is noticed after two of these, in seconds. */
const HEARTBEAT = 30;

const isKnown = (protocol: string): boolean => protocol === 'amqp:' || protocol === 'amqps:';

/** Whether every part of the URL can be understood; says nothing of its text, which may hold a password. */
function isBrokerUrl(text: string): boolean {
  try {
    const { protocol, hostname, username, password, pathname, search, hash } = new URL(text);
    for (const part of [username, password, pathname]) decodeURIComponent(part);
    return isKnown(protocol) && hostname !== '' && search === '' && hash === '';
  } catch {
    return false;
  }
}

const file = z.string().min(1);

/** The keys that every part of the configuration that names a broker has. */
export const brokerKeys = {
  url: z
    .string()
    .refine(isBrokerUrl, URL_FORM)
    .describe('amqp://[user@]host[:port][/vhost], or amqps:// for TLS'),
  username: z.string().min(1).optional().describe('account; default: the URL’s, else guest'),
  password_file: file
    .optional()
    .describe('file that holds the password, alone on its first line; default: the URL’s, else guest'),
  tls: z
    .strictObject({
      ca: file.optional().describe('PEM file of the authority that signed the broker’s certificate'),
      cert: file.optional().describe('PEM file of this side’s certificate, where the broker asks for one'),
      key: file.optional().describe('PEM file of that certificate’s key'),
      servername: z
        .string()
        .min(1)
        .optional()
        .describe('name in the broker’s certificate; default: the host'),
    })
    .optional()
    .describe('for amqps'),
  connect_timeout: durationSchema.prefault('10s').describe('how long to wait for a connection'),
};

/** Whether a connection is to be encrypted. */
export function isEncrypted(url: string): boolean {
  return /^amqps:/i.test(url);
}

/** Whether TLS is used where it is configured. Each schema that has `brokerKeys` refuses what is not: the password, too, would go as it is. */
export function isTlsUsed({ url, tls }: Pick<BrokerOptions, 'url' | 'tls'>): boolean {
  return tls === undefined || isEncrypted(url);
}
export const TLS_UNUSED = {
  path: ['tls'],
  message: 'is for amqps://, but url says amqp://: nothing would be encrypted',
};

const brokerSchema = z.object(brokerKeys);
export type BrokerOptions = z.infer<typeof brokerSchema>;

/** The broker's address for messages: everything of the URL but user and password. */
export function brokerName(url: string): string {
  const { protocol, hostname, port, pathname } = new URL(url);
  return `${protocol}//${hostname}:${port || (protocol === 'amqps:' ? '5671' : '5672')}${pathname === '/' ? '' : pathname}`;
}

/** Where and as whom to connect, in amqplib's words. Reads the password file (a relative path is below `home`). */
export async function endpointOf(options: BrokerOptions, home: string): Promise<Options.Connect> {
  const url = new URL(options.url);
  const username = options.username ?? (decodeURIComponent(url.username) || 'guest');
  const password =
    (await readPassword(home, options.password_file)) ?? (decodeURIComponent(url.password) || 'guest');
  const vhost = url.pathname.length > 1 ? url.pathname.slice(1) : '%2F';
  const protocol = url.protocol.slice(0, -1);
  const hostname = url.hostname.replace(/^\[|\]$/g, '');
  const port = Number(url.port) || (protocol === 'amqps' ? 5671 : 5672);
  // amqplib unescapes vhost itself.
  return { protocol, hostname, port, username, password, vhost, heartbeat: HEARTBEAT };
}

/** The text of a TLS file that is named, looked through by `check`: OpenSSL's own errors name neither key nor file, and a `ca` without a certificate is no error to it. */
async function pemOf(
  { tls = {} }: BrokerOptions,
  home: string,
  key: 'ca' | 'cert' | 'key',
  check: (text: string) => unknown,
): Promise<Partial<Record<typeof key, string>>> {
  const path = tls[key];
  if (path === undefined) return {};
  const text = await readNamed(home, path, `tls.${key}`);
  try {
    check(text);
  } catch (error) {
    const what = key === 'key' ? 'private key without a passphrase' : 'certificate';
    throw new DsacError('config', `tls.${key}: expected a ${what} in PEM in ${path}: ${reasonOf(error)}`, {
      cause: error,
      hint: `name the PEM file of the ${what}`,
    });
  }
  return { [key]: text };
}

const asCertificate = (text: string): unknown => new X509Certificate(text);

/** The TLS files, read. Throws `config` errors that say which key is wrong. */
export async function tlsOf(options: BrokerOptions, home: string): Promise<ConnectionOptions> {
  const { cert, key, servername } = options.tls ?? {};
  if ((cert === undefined) !== (key === undefined))
    throw new DsacError(
      'config',
      `tls.${cert === undefined ? 'key' : 'cert'} is set without tls.${cert === undefined ? 'cert' : 'key'}`,
      {
        hint: 'a certificate is of use only with its key: set both, or neither',
      },
    );
  return {
    ...(await pemOf(options, home, 'ca', asCertificate)),
    ...(await pemOf(options, home, 'cert', asCertificate)),
    ...(await pemOf(options, home, 'key', createPrivateKey)),
    ...(servername === undefined ? {} : { servername }),
  };
}
