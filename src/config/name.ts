import * as z from 'zod';

/** The name of an agent, source, action, dispatcher or processor (docs/format.md §1). */
export const nameSchema = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,63}$/, 'a name: a-z, 0-9 and -, starting with a letter, at most 64');
