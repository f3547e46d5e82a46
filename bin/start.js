/** Starts a command, or says in one line that this Node is too old. Written so that an old Node can read it. */
const NEEDED = [24, 12];

export async function start(program) {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < NEEDED[0] || (major === NEEDED[0] && minor < NEEDED[1])) {
    process.stderr.write(
      `${program}: error: DSAC needs Node ${NEEDED.join('.')} or newer, this is ${process.versions.node}: run it as 'npx ${program}' in its folder, or with node_modules/.bin/node\n`,
    );
    process.exitCode = 78;
    return;
  }
  const { enableCompileCache } = await import('node:module');
  enableCompileCache();
  const { main } = await import('../dist/src/cli/main.js');
  await main(program, process.argv.slice(2));
}
