import { execHandler } from '../src/plugin/exec-handler.ts';
import { defineDispatcher } from '../src/plugin/handler.ts';

export default defineDispatcher({
  ...execHandler,
  summary: 'hands each batch to an executable of yours: stdin, exit 0 delivered, 75 later, other rejected',
});
