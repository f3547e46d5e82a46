/** Reads the configuration and says of every mistake: file, line, key, what is allowed and which name is nearest. */
import { readFile } from 'node:fs/promises';
import { isAbsolute, join, resolve } from 'node:path';
import { type Document, isMap, LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';
import { DsacError, isMissing, reasonOf } from '../errors.ts';
import { didYouMean } from './nearest.ts';
import type { Paths } from './paths.ts';
import { type ConfigData, configSchema } from './schema.ts';

type Path = readonly PropertyKey[];

export interface Config extends ConfigData {
  /** The file it was read from, or where it would be; `found` tells which. */
  readonly file: string;
  readonly found: boolean;
  /** Parses a part of the configuration by a schema known only later (a plugin's options); errors name file, line and key. */
  section<T>(path: Path, value: unknown, schema: z.ZodType<T>): T;
}

/** The keys that a schema allows at `path` below it, or none when that is no object. */
function keysAt(schema: unknown, path: Path): string[] {
  let at = schema;
  for (const key of path) at = stepInto(unwrap(at), key);
  at = unwrap(at);
  return at instanceof z.ZodObject ? Object.keys(at.shape) : [];
}

function unwrap(schema: unknown): unknown {
  let at = schema;
  while (
    at instanceof z.ZodOptional ||
    at instanceof z.ZodNullable ||
    at instanceof z.ZodDefault ||
    at instanceof z.ZodPipe
  ) {
    at = at instanceof z.ZodPipe ? at.in : at.unwrap();
  }
  return at;
}

function stepInto(schema: unknown, key: PropertyKey): unknown {
  if (schema instanceof z.ZodObject) return schema.shape[String(key)];
  if (schema instanceof z.ZodRecord) return schema.valueType;
  if (schema instanceof z.ZodArray) return schema.element;
  return undefined;
}

/** `12` for the line that a key stands on, or the line of the nearest key above it that exists. */
function lineOf(document: Document, lines: LineCounter, path: Path): number | undefined {
  let node: unknown = document.contents;
  let line: number | undefined;
  for (const key of path) {
    if (!isMap(node)) break;
    const pair = node.items.find((item) => String(item.key) === String(key));
    if (pair === undefined) break;
    const start = (pair.key as { range?: [number, number, number] | null }).range?.[0];
    if (start !== undefined) line = lines.linePos(start).line;
    node = pair.value;
  }
  return line;
}

function describeIssue(
  issue: z.core.$ZodIssue,
  schema: z.ZodType,
  base: Path,
): { path: Path; message: string; hint?: string } {
  const path = [...base, ...issue.path];
  if (issue.code === 'unrecognized_keys') {
    const key = issue.keys[0] ?? '';
    return {
      path: [...path, key],
      message: 'unknown key',
      hint: didYouMean(key, keysAt(schema, issue.path)),
    };
  }
  if (issue.code === 'invalid_key') return { path, message: issue.issues[0]?.message ?? issue.message };
  return { path, message: issue.message };
}

/** Reads `file`, or answers an empty configuration when it is not there and `required` is false. Throws `config` errors. */
export async function loadConfig(file: string, required: boolean): Promise<Config> {
  let source = '';
  let found = true;
  try {
    source = await readFile(file, 'utf8');
  } catch (error) {
    if (required || !isMissing(error)) {
      throw new DsacError('config', `cannot read the configuration ${file}: ${reasonOf(error)}`, {
        cause: error,
        hint: 'dsac init writes one',
      });
    }
    found = false;
  }
  const lines = new LineCounter();
  const document = parseDocument(source, { lineCounter: lines, prettyErrors: false });
  const broken = document.errors[0];
  if (broken) {
    const { line, col } = lines.linePos(broken.pos[0]);
    throw new DsacError('config', `${file}:${line}:${col}: not valid YAML: ${broken.message}`);
  }
  const section = <T>(path: Path, value: unknown, schema: z.ZodType<T>): T => {
    const parsed = schema.safeParse(value);
    if (parsed.success) return parsed.data;
    const issue = describeIssue(parsed.error.issues[0]!, schema, path);
    const line = lineOf(document, lines, issue.path);
    const where = line === undefined ? file : `${file}:${line}`;
    throw new DsacError(
      'config',
      `${where}: ${issue.path.map(String).join('.') || 'configuration'}: ${issue.message}`,
      { hint: issue.hint },
    );
  };
  const data = section([], toPlain(document, file), configSchema);
  return { ...data, file, found, section };
}

function toPlain(document: Document, file: string): unknown {
  try {
    return document.toJS() ?? {};
  } catch (error) {
    throw new DsacError('config', `${file}: ${reasonOf(error)}`, { cause: error });
  }
}

/** Where the configuration is: `--config`, else DSAC_CONFIG, else etc/dsac/dsac.yaml below home. Only the first two must exist. */
export function configFile(
  paths: Paths,
  flag: string | undefined,
  env: NodeJS.ProcessEnv,
): { file: string; required: boolean } {
  const named = flag ?? env.DSAC_CONFIG;
  return named
    ? { file: resolve(named), required: true }
    : { file: join(paths.etc, 'dsac.yaml'), required: false };
}

/** A path from the configuration: as it is when absolute, else below home. */
export function belowHome(paths: Paths, path: string): string {
  return isAbsolute(path) ? path : join(paths.home, path);
}
