/** Makes one file of pieces of a build that are loaded together. */
import { dirname, join, normalize, relative } from 'node:path';
import { build, type Metafile, type Plugin } from 'esbuild';

/** The text of each file of the build, by its path in the project (`dist/chunk-X.js`). */
export type Pieces = Map<string, string>;

type Outputs = Metafile['outputs'];
/** What the names of a piece are called in the file that it became. */
type Aliases = ReadonlyMap<string, string>;

/** What is the same of all that is built: one of the files here is read by what makes another. */
export const OUTPUT = {
  bundle: true,
  write: false,
  format: 'esm',
  platform: 'node',
  target: 'node24',
  minifySyntax: true,
  minifyWhitespace: true,
  logLevel: 'warning',
} as const;

/** An import of another piece, as esbuild writes it without needless space. */
const IMPORT = /(?<=^|[;}\n])import(?:\{([^}]*)\}from)?"(\.[^"]+)";/g;

/** The same while running. */
const LATE_IMPORT = /\bimport\("(\.[^"]+)"\)/g;

/** The path by which a file imports another. */
function specifier(from: string, to: string): string {
  const path = relative(dirname(from), to);
  return path.startsWith('.') ? path : `./${path}`;
}

/** The pieces that are loaded with these sources, those left out that have gone into another file. */
function loadedWith(sources: readonly string[], pieces: Pieces, outputs: Outputs): Set<string> {
  const found = new Set<string>();
  const todo = sources.map((source) => {
    const piece = Object.keys(outputs).find((path) => source in outputs[path]!.inputs);
    if (piece === undefined) throw new Error(`${source} is in no piece of the build`);
    return piece;
  });
  for (let path = todo.pop(); path !== undefined; path = todo.pop()) {
    if (found.has(path) || !pieces.has(path)) continue;
    found.add(path);
    for (const { path: next, kind, external } of outputs[path]!.imports)
      if (kind === 'import-statement' && !external) todo.push(next);
  }
  return found;
}

/** A name of its own for each export of the pieces: two may have the same. */
function aliasesOf(members: ReadonlySet<string>, outputs: Outputs): Map<string, Aliases> {
  const taken = new Set<string>();
  const aliasOf = (name: string): [string, string] => {
    let alias = name === 'default' ? 'whole' : name;
    while (taken.has(alias)) alias += '_';
    taken.add(alias);
    return [name, alias];
  };
  return new Map(Array.from(members, (path) => [path, new Map(outputs[path]!.exports.map(aliasOf))]));
}

/** `export{a as a_}from"…";`, or the other way round. */
function handedOn(aliases: Aliases, from: string, as: 'aliases' | 'names'): string {
  const names = Array.from(aliases, ([name, alias]) =>
    as === 'aliases' ? `${name} as ${alias}` : `${alias} as ${name}`,
  );
  return names.length === 0 ? `import"${from}";` : `export{${names.join()}}from"${from}";`;
}

/** Finds the members among the pieces; every other import stays one, as seen from `file`. */
function among(members: ReadonlySet<string>, pieces: Pieces, file: string): Plugin {
  return {
    name: 'pieces',
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /^(?:\.|dist\/)/ }, ({ path, importer }) => {
        const piece = path.startsWith('.') ? normalize(join(dirname(importer), path)) : path;
        return members.has(piece)
          ? { path: piece, namespace: 'pieces' }
          : { path: specifier(file, piece), external: true };
      });
      onLoad({ filter: /./, namespace: 'pieces' }, ({ path }) => ({ contents: pieces.get(path)! }));
    },
  };
}

/** The text of a piece, its imports of members made imports of the file that they have become. */
function redirected(path: string, text: string, file: string, all: ReadonlyMap<string, Aliases>): string {
  const whole = text.replace(LATE_IMPORT, (call, from: string) => {
    const aliases = all.get(normalize(join(dirname(path), from)));
    const same = aliases !== undefined && [...aliases].every(([name, alias]) => name === alias);
    return same ? `import("${specifier(path, file)}")` : call;
  });
  return whole.replace(IMPORT, (statement, names: string | undefined, from: string) => {
    const aliases = all.get(normalize(join(dirname(path), from)));
    if (aliases === undefined) return statement;
    const renamed = (names ?? '').split(',').filter(Boolean);
    const list = renamed.map((one) => {
      const [name = '', local = name] = one.trim().split(' as ');
      return `${aliases.get(name)} as ${local}`;
    });
    return `import{${list.join()}}from"${specifier(path, file)}";`;
  });
}

/** Makes `dist/NAME.js` of all that is loaded with `sources`, and has every other piece import it from there. */
export async function gather(
  name: string,
  sources: readonly string[],
  pieces: Pieces,
  { outputs }: Metafile,
): Promise<void> {
  const file = `dist/${name}.js`;
  const members = loadedWith(sources, pieces, outputs);
  const all = aliasesOf(members, outputs);
  const { outputFiles } = await build({
    stdin: { contents: Array.from(all, ([path, aliases]) => handedOn(aliases, path, 'aliases')).join('\n') },
    ...OUTPUT,
    plugins: [among(members, pieces, file)],
  });
  for (const [path, aliases] of all) {
    pieces.delete(path);
    // import() asks for it by its own name.
    if (outputs[path]!.entryPoint !== undefined)
      pieces.set(path, handedOn(aliases, specifier(path, file), 'names'));
  }
  pieces.set(file, outputFiles[0]!.text);
  for (const [path, text] of pieces) pieces.set(path, redirected(path, text, file, all));
}
