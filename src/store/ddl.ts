/** Writes the tables of a migration for either database. */

export type DialectName = 'sqlite' | 'mysql';

/** What a column holds; `columnTypes` says how each database keeps it. */
export type ColumnType = 'serial' | 'integer' | 'uuid' | 'name' | 'sha256' | 'key' | 'text' | 'json' | 'time';

/** `name?` and so on: the column may be null. */
export type ColumnSpec = ColumnType | `${ColumnType}?`;

export interface TableSpec {
  readonly name: string;
  readonly columns: Readonly<Record<string, ColumnSpec>>;
  /** Primary key; none when a column is `serial`, which is one. */
  readonly primary?: readonly string[];
  readonly unique?: readonly (readonly string[])[];
  readonly indexes?: readonly (readonly string[])[];
}

/**
 * SQL types. On MySQL all text compares by code point and without padding, as SQLite does: `key` and `text` get `collation`, a binary one
 * that does not take 'a ' for 'a' (its name differs between MySQL and MariaDB). A `key` of 512 characters fits an InnoDB index (3072 bytes).
 */
function columnTypes(dialect: DialectName, collation: string): Record<ColumnType, string> {
  if (dialect === 'sqlite') {
    const text = 'text';
    return {
      serial: 'integer',
      integer: 'integer',
      uuid: text,
      name: text,
      sha256: text,
      key: text,
      text,
      json: text,
      time: text,
    };
  }
  const ascii = 'character set ascii collate ascii_bin';
  const utf8 = `character set utf8mb4 collate ${collation}`;
  return {
    serial: 'bigint',
    integer: 'bigint',
    uuid: `char(36) ${ascii}`,
    name: `varchar(64) ${ascii}`,
    sha256: `char(64) ${ascii}`,
    key: `varchar(512) ${utf8}`,
    text: `longtext ${utf8}`,
    json: `longtext ${utf8}`,
    time: 'datetime(3)',
  };
}

function columnSql(
  dialect: DialectName,
  types: Record<ColumnType, string>,
  name: string,
  spec: ColumnSpec,
): string {
  if (spec === 'serial') {
    return `\`${name}\` ${types.serial} ${dialect === 'sqlite' ? 'primary key autoincrement' : 'not null auto_increment primary key'}`;
  }
  const optional = spec.endsWith('?');
  const type = types[spec.replace('?', '') as ColumnType];
  return `\`${name}\` ${type} ${optional ? 'null' : 'not null'}`;
}

const list = (columns: readonly string[]): string => columns.map((column) => `\`${column}\``).join(', ');

/** The statements that create a table and its indexes; safe to run again where an earlier attempt stopped half-way. */
export function createTable(dialect: DialectName, collation: string, table: TableSpec): string[] {
  const types = columnTypes(dialect, collation);
  const indexName = (columns: readonly string[]): string => `${table.name}_by_${columns.join('_')}`;
  const parts = Object.entries(table.columns).map(([name, spec]) => columnSql(dialect, types, name, spec));
  if (table.primary) parts.push(`primary key (${list(table.primary)})`);
  for (const columns of table.unique ?? [])
    parts.push(`constraint \`${indexName(columns)}\` unique (${list(columns)})`);
  const indexes = table.indexes ?? [];
  if (dialect === 'mysql') {
    for (const columns of indexes) parts.push(`index \`${indexName(columns)}\` (${list(columns)})`);
    return [
      `create table if not exists \`${table.name}\` (${parts.join(', ')}) engine = InnoDB row_format = dynamic`,
    ];
  }
  return [
    `create table if not exists \`${table.name}\` (${parts.join(', ')})${table.primary ? ' without rowid' : ''}`,
    ...indexes.map(
      (columns) =>
        `create index if not exists \`${indexName(columns)}\` on \`${table.name}\` (${list(columns)})`,
    ),
  ];
}
