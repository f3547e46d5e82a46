/** YAML with the line of every key, so that a mistake can be pointed at. */
import { isMap, LineCounter, parseDocument } from 'yaml';
import { DsacError, reasonOf } from '../errors.ts';

export interface Located {
  readonly value: unknown;
  /** The line (from 1) that the key at `path` stands on, or that of the nearest key above it that exists. */
  lineOf(path: readonly PropertyKey[]): number | undefined;
}

/** Parses one YAML document. Throws a `config` error with file, line and column when it is not valid. */
export function parseYaml(source: string, file: string): Located {
  const lines = new LineCounter();
  const document = parseDocument(source, { lineCounter: lines, prettyErrors: false, stringKeys: true });
  const broken = document.errors[0];
  if (broken) {
    const { line, col } = lines.linePos(broken.pos[0]);
    throw new DsacError('config', `${file}:${line}:${col}: not valid YAML: ${broken.message}`);
  }
  const lineOf = (path: readonly PropertyKey[]): number | undefined => {
    let node: unknown = document.contents;
    let line: number | undefined;
    for (const key of path) {
      const pair = isMap(node) ? node.items.find((item) => String(item.key) === String(key)) : undefined;
      if (pair === undefined) break;
      const start = (pair.key as { range?: [number, number, number] | null }).range?.[0];
      if (start !== undefined) line = lines.linePos(start).line;
      node = pair.value;
    }
    return line;
  };
  try {
    return { value: document.toJS() ?? {}, lineOf };
  } catch (error) {
    throw new DsacError('config', `${file}: ${reasonOf(error)}`, { cause: error });
  }
}
