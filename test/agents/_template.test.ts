import template from '../../agents/_template.ts';
import { tree } from '../helpers/tree.ts';
import { agentConformance } from '../suites/agent.ts';

agentConformance(template, {
  registered: false,
  tree: (t) => tree(t, { 'etc/template.conf': 'COLOUR=blue\nSIZE=4\n' }),
});
