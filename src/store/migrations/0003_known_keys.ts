/** Version 3: which key a node must sign with is in the centre's known_nodes alone (docs/security.md); the register had a copy of some. */
import { type Kysely, sql } from 'kysely';
import type { Tables } from '../tables.ts';

/** Takes the copy away. May be run again where an earlier attempt stopped half-way. */
export async function fill(db: Kysely<Tables>): Promise<void> {
  const register = (await db.introspection.getTables()).find(({ name }) => name === 'register');
  if (register?.columns.some(({ name }) => name === 'pinned_key'))
    await sql`alter table register drop column pinned_key`.execute(db);
}
