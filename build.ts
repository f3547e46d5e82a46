/**
 * Builds dist/: every command and plugin, with what they use of other packages, in pieces of which a command loads only its own. Nothing is read
 * from node_modules at run time.
 */
import { createHash } from 'node:crypto';
import { globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { build, type Plugin } from 'esbuild';
import { gather, OUTPUT } from './build/gather.ts';

const root = import.meta.dirname;
const SOURCES = ['{src,agents,dispatchers,processors,reports,build}/**/*.ts', 'build.ts', 'package*.json'];
/**
 * What is loaded together, by the sources that ask for it: each becomes one file, of what is in none before it. A file costs about half a millisecond to find,
 * open and link, and esbuild makes one of every few functions that several commands share.
 */
const TOGETHER = {
  main: ['src/cli/main.ts', 'src/cli/terminal.ts'],
  // All that a dispatch with nothing to do comes to, which is what cron runs most.
  program: ['src/cli/program.ts', 'src/cli/commands/deliver.ts'],
  agent: ['src/cli/commands/agent.ts', 'node_modules/pino/pino.js'],
  checks: ['src/spool/decode.ts'],
  deliver: ['src/run/deliver.ts', 'src/spool/route.ts', 'dispatchers/directory.ts'],
  read: ['src/run/agent-run.ts', 'src/run/shapes.ts', 'src/plugin/registry.ts'],
  plan: ['src/run/configured.ts', 'src/config/load.ts'],
};

const late = (name: string): string => `process.getBuiltinModule('${name}')`;
/**
 * What packages name at once and DSAC never comes to, or rarely, though it takes longer to load than they do: by package, what stands in its place. A built-in
 * module is loaded at its first use; pino's way to log from another thread is not there.
 */
const INSTEAD: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  commander: {
    'node:child_process': `new Proxy({}, { get: (_, name) => ${late('node:child_process')}[name] })`,
  },
  pino: { 'thread-stream': 'undefined', worker_threads: '{ isMainThread: true }' },
  'sonic-boom': { assert: `(...given) => ${late('node:assert')}(...given)` },
};

const instead: Plugin = {
  name: 'instead',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^[\w:-]+$/ }, ({ path, importer }) => {
      const by = /\/node_modules\/([^/]+)\/[^@]*$/.exec(importer)?.[1];
      const code = by === undefined ? undefined : INSTEAD[by]?.[path];
      return code === undefined ? undefined : { path, namespace: 'instead', pluginData: code };
    });
    onLoad({ filter: /./, namespace: 'instead' }, ({ pluginData }) => ({
      contents: `module.exports = ${pluginData};`,
    }));
  },
};

/** An import as esbuild writes it, without needless space, at the beginning of a statement: a namespace, a default, or names. */
const IMPORT = /(?<=^|[;}\n])import(?:\*as ([\w$]+) from| ([\w$]+) from|\{([^}]*)\}from)"([^"]+)";/g;

/**
 * Makes plain objects of imported built-in modules. An import reads all that a module exports, also what that loads only when it is asked for:
 * `node:fs` its streams and promises, `node:process` the standard streams.
 */
function plainBuiltins(path: string, source: string): string {
  const plain = source.replace(IMPORT, (statement, space, one, names, from) => {
    if (!isBuiltin(from)) return statement;
    const target = space ?? one ?? `{${names.replaceAll(' as ', ':')}}`;
    return `const ${target}=process.getBuiltinModule("${from}");`;
  });
  if (/\bfrom ?"node:/.test(plain))
    throw new Error(`${path} still imports a built-in module: esbuild has written it in another way`);
  return plain;
}

/** What is built, for code that must know whether it is still the same. */
function digestOfSources(): string {
  const hash = createHash('sha256');
  for (const file of globSync(SOURCES, { cwd: root }).sort())
    hash.update(`${file}\0`).update(readFileSync(join(root, file)));
  return hash.digest('hex').slice(0, 32);
}

rmSync(join(root, 'dist'), { recursive: true, force: true });
const { outputFiles, metafile } = await build({
  absWorkingDir: root,
  entryPoints: ['src/cli/main.ts', 'agents/*.ts', 'dispatchers/*.ts', 'processors/*.ts', 'reports/*.ts'],
  outbase: '.',
  outdir: 'dist',
  ...OUTPUT,
  splitting: true,
  plugins: [instead],
  metafile: true,
  define: { DSAC_BUILD: JSON.stringify(digestOfSources()) },
  // Packages in CommonJS ask for built-in modules, and for nothing else, with require, which a module does not have.
  banner: { js: 'const require=process.getBuiltinModule;' },
});
const pieces = new Map(outputFiles.map(({ path, text }) => [relative(root, path), text]));
for (const [name, sources] of Object.entries(TOGETHER)) await gather(name, sources, pieces, metafile);
for (const [path, text] of pieces) {
  const target = join(root, path);
  mkdirSync(dirname(target), { recursive: true });
  writeFileSync(target, plainBuiltins(path, text));
}
