/** Where every bin begins. What is loaded before it is known what is asked for is what every run of cron waits for: as little as can be. */
import { version } from './version.ts';

/** Runs one command line under a bin's name; sets `process.exitCode`. */
export async function main(name: string, args: readonly string[]): Promise<void> {
  if (args[0] === '--version') {
    const { print, speakAs } = await import('./terminal.ts');
    speakAs(name);
    print(`${version()}\n`);
    return;
  }
  const { run } = await import('./program.ts');
  const code = await run(name, args);
  if (code !== undefined) process.exitCode = code;
}
