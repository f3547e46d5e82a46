/** Finds plugins: one per file in agents/, dispatchers/, processors/ and reports/; the file name is the plugin's name. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { didYouMean } from '../config/nearest.ts';
import { projectRoot } from '../config/project.ts';
import { DsacError, reasonOf } from '../errors.ts';
import type { AnyAgent } from './agent.ts';
import type { AnyHandler } from './handler.ts';
import type { AnyReport } from './report.ts';

export interface PluginKinds {
  agents: AnyAgent;
  dispatchers: AnyHandler;
  processors: AnyHandler;
  reports: AnyReport;
}

/** A plugin folder at the top of the project. */
export type PluginFolder = keyof PluginKinds;

const PLUGIN_FILE = /^([a-z][a-z0-9-]*)\.(?:ts|js)$/;

/** Where this process' plugins are: beside the sources it runs from, or in the build. */
function folderPath(folder: PluginFolder): string {
  const built = join(projectRoot, 'dist');
  return join(fileURLToPath(import.meta.url).startsWith(`${built}/`) ? built : projectRoot, folder);
}

/** Names of the plugins in a folder, sorted; `_template` is none. */
export function pluginNames(folder: PluginFolder): string[] {
  return readdirSync(folderPath(folder))
    .flatMap((file) => PLUGIN_FILE.exec(file)?.[1] ?? [])
    .sort();
}

/** Whether the folder has a plugin of this name. */
export function hasPlugin(folder: PluginFolder, name: string): boolean {
  return pluginNames(folder).includes(name);
}

/** Loads one plugin. Throws a `usage` error with the nearest name when there is none. */
export async function loadPlugin<K extends PluginFolder>(folder: K, name: string): Promise<PluginKinds[K]> {
  if (!hasPlugin(folder, name)) {
    throw new DsacError('usage', `unknown ${folder.slice(0, -1)} '${name}'`, {
      hint: didYouMean(name, pluginNames(folder)),
    });
  }
  const file = readdirSync(folderPath(folder)).find((entry) => PLUGIN_FILE.exec(entry)?.[1] === name)!;
  const path = join(folderPath(folder), file);
  let module: { default?: PluginKinds[K] };
  try {
    module = await import(pathToFileURL(path).href);
  } catch (error) {
    throw new DsacError('software', `cannot load ${path}: ${reasonOf(error)}`, { cause: error });
  }
  const plugin = module.default;
  if (plugin?.name !== name) {
    throw new DsacError(
      'software',
      `${path}: its default export must be a plugin named '${name}', found '${plugin?.name ?? 'nothing'}'`,
    );
  }
  return plugin;
}
