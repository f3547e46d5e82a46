import { execHandler } from '../src/plugin/exec-handler.ts';
import { defineProcessor } from '../src/plugin/handler.ts';

export default defineProcessor({
  ...execHandler,
  summary:
    'hands each batch that arrived to an executable of yours: stdin, exit 0 done, 75 later, other rejected',
});
