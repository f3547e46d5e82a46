import exec from '../../processors/exec.ts';
import { execConformance } from '../suites/exec-handler.ts';

execConformance(exec, 'processors');
