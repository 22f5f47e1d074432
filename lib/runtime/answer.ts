/** What a plugin's standard output says. */

import { CniError, ErrorCode } from '../cni/errors.ts'
import { resultVersion } from '../cni/results/index.ts'
import type { PluginCall, PluginOutcome } from './plugin-call.ts'
import type { ResultDocument } from './plugin-input.ts'
import { readResult } from './result-version.ts'

/** A plugin's own error: its code, message and details, and which plugin said so. */
export class PluginError extends CniError {
  readonly plugin: string
  readonly command: string

  constructor(call: PluginCall, code: number, message: string, details: string | undefined) {
    super(code, message, details)
    this.name = 'PluginError'
    this.plugin = call.plugin
    this.command = call.command
  }
}

/** How much of what is no answer is shown. */
const EXCERPT_CHARACTERS = 200

function excerpt(text: string): string {
  const trimmed = text.trim()
  return trimmed.length <= EXCERPT_CHARACTERS
    ? JSON.stringify(trimmed)
    : `${JSON.stringify(trimmed.slice(0, EXCERPT_CHARACTERS))} ... (${text.length} characters)`
}

function noAnswer(call: PluginCall, what: string, details?: string): PluginError {
  return new PluginError(call, ErrorCode.delegateFailed, what, details)
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** The error that a failed call stands for. An error document counts, whatever else there is; then standard error. */
function failure(call: PluginCall, outcome: PluginOutcome): PluginError {
  const document = parse(outcome.stdout)
  if (typeof document === 'object' && document !== null && 'code' in document && typeof document.code === 'number') {
    const message = 'msg' in document && typeof document.msg === 'string' ? document.msg : ''
    const details = 'details' in document && typeof document.details === 'string' ? document.details : ''
    return new PluginError(call, document.code, message || `failed with code ${document.code}`, details || undefined)
  }
  const ended = `ended with status ${outcome.status} and without an error document`
  if (outcome.stdout.trim() !== '') return noAnswer(call, `${ended}, but with ${excerpt(outcome.stdout)}`)
  const stderr = outcome.stderr.trim()
  return noAnswer(call, ended, stderr === '' ? undefined : `its standard error: ${excerpt(stderr)}`)
}

/** Throws when the call failed. For the verbs without a result. @throws PluginError */
export function expectSuccess(call: PluginCall, outcome: PluginOutcome): void {
  if (outcome.status !== 0) throw failure(call, outcome)
}

/** The JSON object that a successful call printed. `null` counts as an empty one, as libcni has it. @throws PluginError */
export function expectObject(call: PluginCall, outcome: PluginOutcome): Record<string, unknown> {
  expectSuccess(call, outcome)
  const document = parse(outcome.stdout)
  if (document === null) return {}
  if (typeof document === 'object' && !Array.isArray(document)) return { ...document }
  throw noAnswer(
    call,
    outcome.stdout.trim() === ''
      ? 'ended well but printed nothing where a JSON document belongs'
      : `printed what is no JSON object: ${excerpt(outcome.stdout)}`,
    'standard output is for the answer alone: a plugin writes its log to standard error',
  )
}

/**
 * The result of ADD, as it was printed. One that names no version has that of the configuration.
 * @throws PluginError also when it has not the form of its version
 */
export function expectResult(call: PluginCall, outcome: PluginOutcome, cniVersion: string): ResultDocument {
  const document = expectObject(call, outcome)
  const result = { ...document, cniVersion: resultVersion(document) || cniVersion }
  try {
    readResult(result)
  } catch (error) {
    if (!(error instanceof CniError)) throw error
    throw noAnswer(call, `printed what is no result of CNI: ${error.message}`, error.details)
  }
  return result
}
