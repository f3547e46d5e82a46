import * as z from 'zod';
import { defineDispatcher } from '../src/plugin/handler.ts';
import { openStoreSession } from '../src/plugin/store-handler.ts';

const options = z
  .strictObject({
    url: z
      .string()
      .regex(/^(?:mysql|mariadb):\/\//, 'expected mysql://user@host:port/database')
      .optional()
      .describe('mysql://user@host:port/database; or give the parts below'),
    host: z.string().min(1).optional().describe('host; default localhost'),
    port: z.int().min(1).max(65_535).optional().describe('port; default 3306'),
    user: z.string().min(1).optional().describe('account; default root'),
    database: z.string().min(1).optional().describe('database; default dsac'),
    socket: z.string().min(1).optional().describe('path of a local socket, instead of host and port'),
    password_file: z
      .string()
      .min(1)
      .optional()
      .describe('file that holds the password, alone on its first line'),
  })
  .refine(
    ({ url, host, port, user, database, socket }) => !url || !(host || port || user || database || socket),
    {
      path: ['url'],
      message: 'give either url, or host, port, user, database and socket',
    },
  );

type Parts = z.infer<typeof options>;

/** The parts as one URL, as the store takes it. */
function urlOf({
  url,
  host = 'localhost',
  port = 3306,
  user = 'root',
  database = 'dsac',
  socket,
}: Parts): string {
  if (url !== undefined) return url;
  const at = host.includes(':') ? `[${host}]` : encodeURIComponent(host);
  const query = socket === undefined ? '' : `?socket=${encodeURIComponent(socket)}`;
  return `mysql://${encodeURIComponent(user)}@${at}:${port}/${encodeURIComponent(database)}${query}`;
}

export default defineDispatcher({
  name: 'mysql',
  summary: 'loads straight into the centre’s MySQL or MariaDB: whole batches in one transaction',
  options,
  open: (context) =>
    openStoreSession({ url: urlOf(context.options), password_file: context.options.password_file }, context),
});
