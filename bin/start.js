/** Starts a command, or says in one line why it cannot. Written so that an old Node can read it. */
const NEEDED = [24, 12];
/** EX_OSERR of sysexits.h. */
const OS_ERROR = 71;
const HINTS = {
  EMFILE: 'too few file descriptors: raise the limit (ulimit -n)',
  ENFILE: 'the system has no file descriptors left',
  ERR_MODULE_NOT_FOUND: 'the installation is not whole: npm ci in its folder builds it',
};

export async function start(program) {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < NEEDED[0] || (major === NEEDED[0] && minor < NEEDED[1])) {
    process.stderr.write(
      `${program}: error: DSAC needs Node ${NEEDED.join('.')} or newer, this is ${process.versions.node}: run it as 'npx ${program}' in its folder, or with node_modules/.bin/node\n`,
    );
    process.exitCode = 78;
    return;
  }
  try {
    const { enableCompileCache } = process.getBuiltinModule('node:module');
    // Not in /tmp, where Node has it by itself: who makes that folder first could put other code in the place of this.
    enableCompileCache(`${import.meta.dirname}/../dist/compiled`);
    const { main } = await import('../dist/main.js');
    await main(program, process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`${program}: error: cannot start: ${error.message}\n`);
    if (Object.hasOwn(HINTS, error.code)) process.stderr.write(`${program}: hint: ${HINTS[error.code]}\n`);
    process.exitCode = OS_ERROR;
  }
}
