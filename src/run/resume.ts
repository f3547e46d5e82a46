/** What a run of an agent, or of the receipts, goes on from: its store, the state there, and the node's key as it is now. */
import { join } from 'node:path';
import type { CollectRun } from './agent-run.ts';
import { loadIdentity } from './identity.ts';
import { type AgentState, AgentStore, firstState } from './state.ts';
import { newEpoch } from './stream.ts';

/** The store of an agent, and the lock that whoever uses it must hold. */
export function agentStore(run: CollectRun, name: string): { store: AgentStore; lockPath: string } {
  const directory = join(run.paths.lib, 'agents', name);
  return {
    store: new AgentStore(directory, run.spool, `${name}.${run.origin.identity.node}.`),
    lockPath: join(directory, 'lock'),
  };
}

/** The state to continue from: what was recovered, or a new epoch when there is none or it is of another tree. */
export async function recoverState(run: CollectRun, store: AgentStore, started: Date): Promise<AgentState> {
  const state = await store.recover();
  if (state && state.root === run.system.root) return state;
  return firstState(run.system.root, newEpoch(started));
}

/** The run with the key as it is now: it may have been changed while the run waited for the lock. */
export async function withPresentKey(run: CollectRun): Promise<CollectRun> {
  return { ...run, origin: { ...run.origin, identity: await loadIdentity(run.paths) } };
}
