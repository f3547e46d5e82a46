/**
 * Services of this machine, from the init system that rules it: systemd, else OpenRC, else System V. Where systemd is installed but does
 * not run (a container, a tree given by --rootfs) its unit files still tell what is enabled or masked; the state is then left out.
 *
 * Left out because they change without anybody's doing: process ids (a restart shows in `invocation`), next times of timers, transient
 * units, units of login sessions, one unit per connection, and the comings and goings of what runs only now and then (see `active`).
 */
import * as z from 'zod';
import { keyText } from '../src/host/text.ts';
import { type AgentContext, absent, type Change, defineInventory, type Step } from '../src/plugin/agent.ts';
import { initOf, isBootedWithSystemd, stampInit } from '../src/source/services/init.ts';
import { openRcServices } from '../src/source/services/openrc.ts';
import { loadedUnits, unitFiles } from '../src/source/services/systemctl.ts';
import { isInstance, mergeUnits } from '../src/source/services/systemd.ts';
import { sysvServices } from '../src/source/services/sysv.ts';

const fields = z.object({
  unit: z.string().describe('name, as the init system writes it: nginx.service, sshd'),
  active: z
    .string()
    .optional()
    .describe(
      "systemd's ActiveState, OpenRC's state in its words: active, inactive, failed, activating, deactivating. inactive too for what runs only now and then (a oneshot, started by timer, path or D-Bus), unless its last run failed. Absent when the init system does not run",
    ),
  sub: z.string().optional().describe('finer state of a service, in the init system’s own word'),
  enabled: z
    .string()
    .optional()
    .describe('whether it starts by itself: enabled, disabled, static, masked, … (UnitFileState)'),
  runlevels: z.array(z.string()).optional().describe('OpenRC, SysV: runlevels that start it, sorted'),
  load: z.string().optional().describe('why its unit file is of no use: error, bad-setting, not-found'),
  result: z.string().optional().describe('how it failed: exit-code, signal, timeout, oom-kill, …'),
  invocation: z.string().optional().describe('id of this run of an active unit (InvocationID)'),
  restarts: z.number().optional().describe('times systemd restarted it by itself (NRestarts)'),
  since: z.string().optional().describe('when it came to its state, UTC'),
  fragment: z
    .string()
    .optional()
    .describe('file it is defined in; of systemd’s units only while up or failed'),
  dropins: z
    .array(z.string())
    .optional()
    .describe('files that override parts of it; only while up or failed'),
});
type ServiceFields = z.infer<typeof fields>;
type Both = Change<ServiceFields> & { readonly before: ServiceFields; readonly after: ServiceFields };

const STATE_FIELDS = ['active', 'sub', 'result', 'invocation', 'restarts', 'since'] as const;
const FILE_FIELDS = ['enabled', 'runlevels'] as const;

function differ({ before, after }: Both, named: readonly (keyof ServiceFields)[]): boolean {
  return named.some((field) => JSON.stringify(before[field]) !== JSON.stringify(after[field]));
}

function isMasked({ enabled }: ServiceFields): boolean {
  return enabled?.startsWith('masked') ?? false;
}

function isEnabled({ enabled }: ServiceFields): boolean {
  return enabled?.startsWith('enabled') ?? false;
}

/** The word for what happened to the unit file. */
function fileAction({ before, after }: Both): string {
  if (isMasked(before) !== isMasked(after)) return isMasked(after) ? 'masked' : 'unmasked';
  if (isEnabled(before) !== isEnabled(after)) return isEnabled(after) ? 'enabled' : 'disabled';
  return 'changed';
}

function fileSteps(change: Both): Step<ServiceFields>[] {
  return differ(change, FILE_FIELDS) ? [{ action: fileAction(change), fields: FILE_FIELDS }] : [];
}

/** Whether it runs anew: another invocation, or where versions before 232 have none another start. */
function isRestarted({ before, after }: Both): boolean {
  if (before.invocation !== after.invocation) return true;
  return before.invocation === undefined && before.since !== after.since;
}

/** The word for what happened to the running of it. */
function stateAction(change: Both): string {
  const { before, after } = change;
  switch (after.active) {
    case 'active':
      if (before.active !== 'active') return 'started';
      return isRestarted(change) ? 'restarted' : 'changed';
    case 'failed':
      return 'failed';
    case 'inactive':
    case undefined:
      if (before.active === 'failed') return 'recovered';
      if (before.active === undefined) return 'changed';
      if (before.active !== after.active) return 'stopped';
      return after.since ? 'ran' : 'changed';
    default:
      return (after.restarts ?? 0) > (before.restarts ?? 0) ? 'restarted' : 'changed';
  }
}

function stateSteps(change: Both): Step<ServiceFields>[] {
  if (!differ(change, STATE_FIELDS)) return [];
  const { before, after } = change;
  // Two starts within one second have one time: then the invocation tells that it is the newer one's.
  const isNews = before.since !== after.since || before.invocation !== after.invocation;
  return [{ action: stateAction(change), fields: STATE_FIELDS, time: isNews ? after.since : undefined }];
}

/** The words for an instance of a template that is there now, and for one that is not any more, by its state and its file's. */
const ARRIVALS = { active: 'started', failed: 'failed', enabled: 'enabled', masked: 'masked' };
const DEPARTURES = { active: 'stopped', failed: 'recovered', enabled: 'disabled', masked: 'unmasked' };

/** An instance of a template is there only while it runs, has failed, or is enabled or masked by itself: coming and going is that. */
function comeOrGone(word: 'added' | 'removed', service: ServiceFields): Step<ServiceFields> {
  if (!isInstance(service.unit)) return { action: word };
  const words = word === 'added' ? ARRIVALS : DEPARTURES;
  const { active, since } = service;
  if (active === 'active' || active === 'failed')
    return { action: words[active], time: word === 'added' ? since : undefined };
  if (isMasked(service)) return { action: words.masked };
  return { action: isEnabled(service) ? words.enabled : word };
}

function describeChange(change: Both): Step<ServiceFields>[] {
  const steps = [...fileSteps(change), ...stateSteps(change)];
  const isMore = differ(change, ['load', 'fragment', 'dropins']);
  const isOfState = change.before.active !== change.after.active;
  return isMore && !(isOfState && steps.length > 0) ? [...steps, { action: 'changed' }] : steps;
}

async function* withKeys(source: string, services: Iterable<ServiceFields>) {
  for (const service of services) yield { key: keyText(`${source}/${service.unit}`), fields: service };
}

/** What systemd itself says, or when it does not run, what its unit files say. */
async function readSystemd({ system, signal, restsOn }: AgentContext) {
  const files = await stampInit(system);
  const systemctl = await system.which('systemctl');
  if (systemctl === undefined) return absent('unit files of systemd are here, but no systemctl to read them');
  const isBooted = await isBootedWithSystemd(system);
  const loaded = isBooted ? await loadedUnits(system, systemctl, signal) : undefined;
  const units = mergeUnits(loaded, await unitFiles(system, systemctl, { signal, isBooted }));
  if (files) restsOn(files);
  return units;
}

export default defineInventory({
  name: 'services',
  summary: 'services, sockets, timers: started, stopped, failed, restarted, enabled, masked',
  every: '5m',
  options: z.strictObject({}),
  fields,
  actions: {
    added: 'a new unit or init script',
    removed: 'a unit or init script is gone',
    started: 'it was started',
    stopped: 'it was stopped, or ended by itself',
    restarted: 'it runs anew, started by a person or again by systemd',
    failed: 'it failed, or failed again',
    recovered:
      'it had failed and does not stand as failed any more: reset by hand, runs anew, or a later run went well',
    ran: 'it was started and ended since the last look',
    enabled: 'it will start by itself',
    disabled: 'it will not start by itself any more',
    masked: 'it can not be started any more',
    unmasked: 'it can be started again',
    changed: 'something else about it changed',
  },
  describe(change) {
    if (change.before === undefined) return comeOrGone('added', change.after);
    if (change.after === undefined) return comeOrGone('removed', change.before);
    return describeChange(change);
  },
  sources: {
    async *systemd(context) {
      const files = await stampInit(context.system);
      const init = await initOf(context.system);
      if (init !== 'systemd') {
        if (files) context.restsOn(files);
        return absent(`no systemd here; ${init ?? 'no init system'} rules`);
      }
      yield* withKeys('systemd', await readSystemd(context));
    },
    async *openrc({ system, signal, restsOn }) {
      const files = await stampInit(system);
      const init = await initOf(system);
      if (init !== 'openrc') {
        if (files) restsOn(files);
        return absent(`no OpenRC here; ${init ?? 'no init system'} rules`);
      }
      yield* withKeys('openrc', await openRcServices(system, signal));
    },
    async *sysv({ system, restsOn }) {
      const files = await stampInit(system);
      if (files) restsOn(files);
      const init = await initOf(system);
      if (init === 'openrc') return absent('OpenRC rules here');
      if (await isBootedWithSystemd(system))
        return absent('systemd rules here, and makes units of init scripts');
      const services = await sysvServices(system, init === 'systemd');
      if (services === undefined) return absent('no /etc/init.d');
      yield* withKeys('sysv', services);
    },
  },
});
