/** Reads the configuration and says of every mistake: file, line, key, what is allowed and which name is nearest. */
import * as z from 'zod';
import { DsacError } from '../errors.ts';
import { readConfig } from './file.ts';
import { didYouMean } from './nearest.ts';
import { type ConfigData, configSchema } from './schema.ts';
import type { Located } from './yaml.ts';

type Path = readonly PropertyKey[];

const NOTHING: Located = { value: {}, lineOf: () => undefined };

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
  return parseConfig(file, readConfig({ file, required }));
}

/** What the configuration's text says; undefined: there is no such file. Throws `config` errors. */
export async function parseConfig(file: string, text: string | undefined): Promise<Config> {
  const located = text === undefined ? NOTHING : (await import('./yaml.ts')).parseYaml(text, file);
  const section = <T>(path: Path, value: unknown, schema: z.ZodType<T>): T => {
    const parsed = schema.safeParse(value);
    if (parsed.success) return parsed.data;
    const issue = describeIssue(parsed.error.issues[0]!, schema, path);
    const line = located.lineOf(issue.path);
    const where = line === undefined ? file : `${file}:${line}`;
    const key = issue.path.map(String).join('.') || 'configuration';
    throw new DsacError('config', `${where}: ${key}: ${issue.message}`, { hint: issue.hint });
  };
  const data = section([], located.value, configSchema);
  return { ...data, file, found: text !== undefined, section };
}
