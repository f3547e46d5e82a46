import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import template from '../../dispatchers/_template.ts';
import { decode } from '../../src/spool/decode.ts';
import { temporary } from '../helpers/tree.ts';
import { handlerConformance } from '../suites/handler.ts';

handlerConformance(template, {
  folder: 'dispatchers',
  registered: false,
  keepsOne: false,
  destination: (t) => {
    const file = join(temporary(t), 'all.jsonl');
    const arrived = async (): Promise<string[]> =>
      [...decode(readFileSync(file))].map(({ batch }) => batch!.trailer.sha256);
    return { options: { file }, arrived };
  },
  down: (t) => ({ file: join(temporary(t), 'no', 'such', 'folder') }),
});
