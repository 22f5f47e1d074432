/** What a command of cnictl is: an object in the table of commands.ts; the work is apart from how it is shown. */

/** An option's value as the command line gives it. */
export type OptionValue = string | boolean | readonly string[] | undefined

export interface OptionDescription {
  /** "-i, --ifname <name>"; one without a value is a switch. */
  readonly flags: string
  readonly description: string
  /** May be given several times; the values come as a list. */
  readonly repeatable?: boolean
}

export interface ArgumentDescription {
  readonly name: string
  readonly description: string
  readonly optional?: boolean
}

/** The command line, taken apart. Options have the names of their long flags in camel case. */
export interface Input {
  readonly arguments: readonly (string | undefined)[]
  readonly options: Readonly<Record<string, OptionValue>>
}

/** What surrounds a command. */
export interface Context {
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly workingDirectory: () => string
  /** Told of what is out of order but stops nothing. */
  readonly warn: (message: string) => void
  /** Aborted when a signal asks cnictl to end. */
  readonly signal: AbortSignal
}

/** What a command has to say, for a program and for a person. */
export interface Report {
  readonly document: unknown
  /** Lines without the last line's end. */
  readonly text: string
  /** The work was done, and has found what is out of order: exit code 1. */
  readonly failed?: boolean
}

export interface Command {
  readonly name: string
  /** One line for the list of commands. */
  readonly summary: string
  /** What `--help` says first. */
  readonly description: string
  readonly arguments: readonly ArgumentDescription[]
  readonly options: readonly OptionDescription[]
  readonly examples: readonly { readonly line: string; readonly does: string }[]
  readonly run: (input: Input, context: Context) => Promise<Report>
}

/** Commands of one subject: `cnictl overlay peers`. */
export interface CommandGroup {
  readonly name: string
  readonly summary: string
  readonly description: string
  readonly commands: readonly Command[]
}

/** The documented exit codes. */
export const ExitCode = {
  done: 0,
  /** A plugin, or the work itself, failed: the error says which. Or something was found to be out of order. */
  failed: 1,
  /** The command line is wrong. Nothing was done. */
  usage: 2,
  /** The network's configuration is missing or wrong. Nothing was done. */
  configuration: 3,
  /** Plus the signal's number, as in a shell. */
  signal: 128,
} as const

/** The command line asks for what cannot be. `remedy` says how to write it. */
export class UsageError extends Error {
  readonly remedy: string | undefined

  constructor(message: string, remedy?: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'UsageError'
    this.remedy = remedy
  }
}

/** The network's configuration is missing or wrong: an error of its own exit code around the one that says why. */
export class ConfigurationError extends Error {
  override readonly cause: Error

  constructor(cause: Error) {
    super(cause.message)
    this.name = 'ConfigurationError'
    this.cause = cause
  }
}
