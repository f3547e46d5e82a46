import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';

/** A structured log: what happened as fields, then one message. JSON lines by pino. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** A log that keeps nothing. */
export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} };

/**
 * Opens the log of one command: JSON lines appended to `file`, and to stderr too when `verbose`.
 * Where the file cannot be written, the command goes on without it and says so to the caller's `complain`.
 */
export async function openLog(
  command: string,
  file: string,
  options: { verbose: boolean; complain(reason: string): void },
): Promise<Log> {
  const pino = (await import('pino')).default;
  const streams: { stream: { write(text: string): void }; level: 'debug' | 'info' }[] = [];
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o750 });
    const stream = pino.destination({ dest: file, sync: true, append: true, mode: 0o640 });
    stream.once('error', (error) => options.complain(`cannot write the log ${file}: ${error.message}`));
    stream.on('error', () => {});
    streams.push({ stream, level: 'info' });
  } catch (error) {
    options.complain(`cannot write the log ${file}: ${(error as Error).message}`);
  }
  if (options.verbose) {
    const stream = pino.destination({ dest: 2, sync: true });
    stream.on('error', () => {});
    streams.push({ stream, level: 'debug' });
  }
  if (streams.length === 0) return silentLog;
  const log: Log = pino(
    { name: command, level: 'debug', base: { name: command, pid: process.pid } },
    pino.multistream(streams),
  );
  return log;
}
