/** Streams the rows of a question some hundred at a time: one by one, most rows would cost less to read than to hand on. */
import type { CompiledQuery } from 'kysely';
import { holdYoungSpace } from '../heap.ts';
import type { Store } from './store.ts';

/** Rows that are handed on together. */
export const PAGE_ROWS = 64;

/** What can be asked: a built query. */
interface Question<R> {
  compile(): CompiledQuery<R>;
}

/** The rows of a question, in order, in pages that are not empty. On SQLite nothing else may be asked of the store until it ends: there is one connection. */
export async function* pagesOf<R>({ db }: Pick<Store, 'db'>, question: Question<R>): AsyncGenerator<R[]> {
  let page: R[] = [];
  // SQLite answers in pages of its own, MySQL row by row.
  for await (const { rows } of db.getExecutor().stream<R>(question.compile(), PAGE_ROWS)) {
    if (page.length === 0) page = rows;
    else page.push(...rows);
    if (page.length < PAGE_ROWS) continue;
    yield page;
    holdYoungSpace();
    page = [];
  }
  if (page.length > 0) yield page;
}

/** All rows of a question that has many: streamed, they are lighter than those of `execute`. */
export async function rowsOf<R>(store: Pick<Store, 'db'>, question: Question<R>): Promise<R[]> {
  return (await Array.fromAsync(pagesOf(store, question))).flat();
}
