import * as z from 'zod';
import { defineProcessor } from '../src/plugin/handler.ts';
import { openStoreSession } from '../src/plugin/store-handler.ts';

const options = z.strictObject({
  url: z
    .string()
    .min(1)
    .optional()
    .describe('sqlite:PATH or mysql://user@host:port/database; default: the database that reports read'),
  password_file: z
    .string()
    .min(1)
    .optional()
    .describe('file that holds the password, alone on its first line'),
});

export default defineProcessor({
  name: 'store',
  summary: 'loads what arrived into the database that reports read: SQLite, MySQL or MariaDB',
  options,
  open: (context) =>
    openStoreSession(context.options.url === undefined ? context.store : context.options, context),
});
