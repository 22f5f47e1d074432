/** Plain tables: columns aligned with spaces, in the manner of ip(8) and kubectl. */

/** A row by column; undefined and "" leave the cell empty. */
export type Row = Readonly<Record<string, string | number | undefined>>

/** The columns with a heading each; a column that no row fills is left out. No rows make no lines. */
export function table(columns: readonly string[], rows: readonly Row[]): string[] {
  const used = columns.filter(column => rows.some(row => cell(row, column) !== ''))
  const lines = [used.map(column => column.toUpperCase()), ...rows.map(row => used.map(column => cell(row, column)))]
  const widths = used.map((_, index) => Math.max(...lines.map(line => (line[index] ?? '').length)))
  return rows.length === 0
    ? []
    : lines.map(line =>
        line
          .map((text, index) => text.padEnd(widths[index] ?? 0))
          .join('  ')
          .trimEnd(),
      )
}

function cell(row: Row, column: string): string {
  return String(row[column] ?? '')
}

/** Paragraphs with an empty line between them; those without lines are left out. */
export function paragraphs(...parts: readonly (readonly string[])[]): string {
  return parts
    .filter(lines => lines.length > 0)
    .map(lines => lines.join('\n'))
    .join('\n\n')
}
