/**
 * A process of its own that asks a store in SQL for what `dsac report packages --format ndjson` shows of it: `node package-rows.ts STORE SINCE`. As
 * someone would write it who knows that each change was told by dpkg's log, by apt's, and by one look of the inventory.
 */
import { writeSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';

const SQL = `
  select d.time, d.node, b.host, d.action, d.item, d.before_json ->> '$.version' as "from", d.after_json ->> '$.version' as "to", a.by_json,
    d.source || coalesce('+' || a.source, '') || case when exists (
      select 1 from events o where o.node = d.node and o.agent = 'packages' and o.item = d.item
        and o.time >= d.time and o.since <= d.time) then '+observed' else '' end as source
  from events d join batches b on b.id = d.batch
  left join events a on a.node = d.node and a.agent = d.agent and a.item = d.item and a.source = 'apt'
    and a.time <= d.time and a.time > datetime(d.time, '-5 minutes')
  where d.agent = 'package-history' and d.source = 'dpkg' and d.time >= ?
  order by d.time, d.node`;

const [path, since] = process.argv.slice(2);
using database = new DatabaseSync(path!, { readOnly: true });
let text = '';
for (const { item, by_json, ...row } of database.prepare(SQL).iterate(since!)) {
  const [manager, name, arch] = String(item).split('/');
  const by: unknown = by_json === null ? null : JSON.parse(String(by_json));
  text += `${JSON.stringify({ ...row, manager, name, arch, by })}\n`;
  if (text.length < 65_536) continue;
  writeSync(1, text);
  text = '';
}
writeSync(1, text);
