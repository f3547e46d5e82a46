import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import store from '../../processors/store.ts';
import { ownDatabase, servicesLeftOut } from '../helpers/services.ts';
import { temporary } from '../helpers/tree.ts';
import { handlerConformance } from '../suites/handler.ts';
import { loadedInto, refusesOneAlone } from '../suites/loading-handler.ts';

handlerConformance(store, {
  folder: 'processors',
  destination: (_t, { paths }) => ({
    options: {},
    arrived: () => loadedInto(`sqlite:${join(paths.home, 'var/lib/dsac/store.db')}`),
  }),
  down: (t) => {
    const path = join(temporary(t), 'store.db');
    mkdirSync(path);
    return { url: `sqlite:${path}` };
  },
});

refusesOneAlone(store, 'store (SQLite)', async (t) => `sqlite:${join(temporary(t), 'store.db')}`, false);
refusesOneAlone(store, 'store (MySQL)', ownDatabase, servicesLeftOut);
