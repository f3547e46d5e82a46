/** Copy this file to agents/<name>.ts, and its test to test/agents/<name>.test.ts: an agent is this much and no more. */
import * as z from 'zod';
import { stamp } from '../src/host/stamp.ts';
import { text } from '../src/host/text.ts';
import { absent, defineInventory } from '../src/plugin/agent.ts';

const options = z.strictObject({});

const fields = z.strictObject({
  value: z.string().describe('the setting’s value'),
});

export default defineInventory({
  name: 'template',
  summary: 'settings in /etc/template.conf, one NAME=VALUE a line',
  every: '1h',
  options,
  fields,
  actions: {
    set: 'the setting was not there before',
    changed: 'the setting has another value',
    unset: 'the setting is gone',
  },
  describe({ before, after }) {
    return { action: before === undefined ? 'set' : after === undefined ? 'unset' : 'changed' };
  },
  sources: {
    async *file({ system, restsOn }) {
      // All that is yielded comes from this file: while it does not change, it is not read again. Left out where more than files matters.
      restsOn(await stamp(system, ['/etc/template.conf']));
      const bytes = await system.read('/etc/template.conf');
      if (bytes === undefined) absent('no /etc/template.conf');
      for (const line of text(bytes).split('\n')) {
        const [name, value] = line.split('=', 2);
        if (name && value !== undefined) yield { key: `setting/${name}`, fields: { value } };
      }
    },
  },
});
