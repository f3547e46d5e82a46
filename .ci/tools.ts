/** Installs what the tests of the real thing need and this machine lacks, so that none of them is left out; says so where it cannot. */
import { install } from '../test/helpers/apt.ts';
import { installed } from '../test/helpers/private-services.ts';

/** Debian's package for each command. */
const TOOLS = {
  faketime: 'faketime',
  logrotate: 'logrotate',
  mmdebstrap: 'mmdebstrap',
  openssl: 'openssl',
  rpm: 'rpm',
  sshd: 'openssh-server',
  ssh: 'openssh-client',
  strace: 'strace',
  systemctl: 'systemd',
};

const lacking = Object.entries(TOOLS).flatMap(([command, name]) => (installed(command) ? [] : [name]));
const failed = lacking.length > 0 ? install(lacking) : undefined;
if (failed !== undefined)
  process.stderr.write(
    `ci: ${lacking.join(', ')} missing (${failed}): the tests that need them say that they are left out\n`,
  );
