/** The log: one JSON document per line on standard error, where systemd's journal takes it. */

const levels = { debug: 0, info: 1, warn: 2, error: 3 } as const

export type LogLevel = keyof typeof levels
export const logLevels = Object.keys(levels) as readonly LogLevel[]

type Fields = Readonly<Record<string, unknown>>

export class Log {
  readonly #threshold: number
  readonly #fields: Fields
  readonly #write: (line: string) => void

  /** @param fields that every line has */
  constructor(level: LogLevel, fields: Fields = {}, write = (line: string) => void process.stderr.write(line)) {
    this.#threshold = levels[level]
    this.#fields = fields
    this.#write = write
  }

  debug(message: string, fields?: Fields): void {
    this.#log('debug', message, fields)
  }
  info(message: string, fields?: Fields): void {
    this.#log('info', message, fields)
  }
  warn(message: string, fields?: Fields): void {
    this.#log('warn', message, fields)
  }
  error(message: string, fields?: Fields): void {
    this.#log('error', message, fields)
  }

  #log(level: LogLevel, message: string, fields: Fields = {}): void {
    if (levels[level] < this.#threshold) return
    const line = { time: new Date().toISOString(), level, message, ...this.#fields, ...fields }
    this.#write(`${JSON.stringify(line, plain)}\n`)
  }
}

/** What JSON does not know: an error is its message, and its stack when it is none of ours. */
function plain(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString()
  if (!(value instanceof Error)) return value
  return value.name === 'Error' || value.name === 'TypeError' || value.name === 'RangeError'
    ? { message: value.message, stack: value.stack }
    : value.message
}
