import exec from '../../dispatchers/exec.ts';
import { execConformance } from '../suites/exec-handler.ts';

execConformance(exec, 'dispatchers');
