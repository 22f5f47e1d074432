/** An error for a program and for a person. */

import { CniError } from '../../lib/cni/errors.ts'
import { toCniError } from '../../lib/cni/failure.ts'
import { PluginError } from '../../lib/runtime/index.ts'
import { newestVersion } from '../../lib/runtime/version.ts'
import { ConfigurationError, UsageError } from '../command.ts'

/** The protocol's error document, with the plugin that said it. */
export function errorDocument(error: unknown): Record<string, unknown> {
  const known = asCniError(error)
  return {
    cniVersion: newestVersion,
    code: known.code,
    msg: known.message,
    ...(known.details === undefined ? {} : { details: known.details }),
    ...(known instanceof PluginError ? { plugin: known.plugin, command: known.command } : {}),
  }
}

/** What went wrong, and beneath it, indented, what to do. */
export function errorLines(error: unknown): string[] {
  if (error instanceof UsageError) return withDetails(error.message, error.remedy)
  const known = asCniError(error)
  const who = known instanceof PluginError ? `plugin "${known.plugin}" failed at ${known.command}: ` : ''
  return withDetails(`${who}${known.message} (code ${known.code})`, known.details)
}

function asCniError(error: unknown): CniError {
  if (error instanceof UsageError) return new CniError(USAGE_CODE, error.message, error.remedy, { cause: error })
  return toCniError(error instanceof ConfigurationError ? error.cause : error)
}

/** The protocol's code for parameters that cannot be used. */
const USAGE_CODE = 4

function withDetails(message: string, details: string | undefined): string[] {
  return [message, ...(details === undefined ? [] : details.split('\n').map(line => `  ${line}`))]
}
