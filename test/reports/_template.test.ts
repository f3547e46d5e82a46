import template from '../../reports/_template.ts';
import { reportConformance } from '../suites/report.ts';
import { changed, changes, HOSTILE } from './nodes.ts';

reportConformance(template, () => [
  changes('template', '02:00', [
    changed('a', 'added', undefined, { v: 1 }),
    changed(HOSTILE.replace(/\p{Cc}/gu, ''), 'added', undefined, { v: 1 }),
  ]),
]);
