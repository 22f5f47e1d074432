/** What a user is told about a value that a schema refuses. */

import type { ConfigSchema, Violation } from './config.ts'
import { CniError, ErrorCode } from './errors.ts'

/** Longer values are cut in messages. */
const SHOWN_VALUE_LENGTH = 100

/** One error for all violations: the message is the first one's, the details say what is allowed and list the others. */
export function violationError(value: unknown, schema: ConfigSchema, violations: readonly Violation[]): CniError {
  const [first, ...others] = withoutFailedAlternatives(violations).map(violation => describe(value, schema, violation))
  const details = [
    first?.remedy,
    ...others.map(other => `also: ${other.message}${other.remedy ? `; ${other.remedy}` : ''}`),
  ]
  return new CniError(
    ErrorCode.invalidNetworkConfig,
    first?.message ?? 'invalid configuration',
    details.filter(Boolean).join('\n') || undefined,
  )
}

/** Why each alternative of an anyOf or oneOf failed only confuses: that none fits is what counts. */
function withoutFailedAlternatives(violations: readonly Violation[]): readonly Violation[] {
  const choices = violations.filter(({ keyword }) => keyword === 'anyOf' || keyword === 'oneOf')
  return violations.filter(({ schemaPath }) => !choices.some(choice => schemaPath.startsWith(`${choice.schemaPath}/`)))
}

function describe(value: unknown, schema: ConfigSchema, violation: Violation): { message: string; remedy: string } {
  const { keyword, params } = violation
  const path = pointerParts(violation.instancePath)
  // The keyword's own name is the last part of the schema path; the schema that holds it comes before.
  const holder = at(schema, pointerParts(decodeURIComponent(violation.schemaPath)).slice(0, -1)) as ConfigSchema
  const missing = params.missingProperty
  if (typeof missing === 'string') {
    const known = holder.properties?.[missing]
    return { message: `"${keyPath([...path, missing])}" is missing`, remedy: remedyText([...path, missing], known) }
  }
  const extra = params.additionalProperty
  if (typeof extra === 'string') {
    const allowed = Object.keys(holder.properties ?? {}).join(', ')
    return { message: `"${keyPath([...path, extra])}" is not a known key`, remedy: `known keys: ${allowed}` }
  }
  const shown = showValue(at(value, path))
  const where = path.length === 0 ? 'the configuration' : `"${keyPath(path)}"`
  return {
    message: `${where} is ${shown}, but must ${requirement(keyword, holder, violation)}`,
    remedy: remedyText(path, holder),
  }
}

function requirement(keyword: string, schema: ConfigSchema, violation: Violation): string {
  if (schema.enum) return `be one of ${schema.enum.map(choice => JSON.stringify(choice)).join(', ')}`
  if ('const' in schema) return `be ${JSON.stringify(schema.const)}`
  if (keyword === 'anyOf' || keyword === 'oneOf') return 'have one of the allowed forms'
  if (keyword === 'pattern') return `match ${schema.pattern}`
  if (keyword === 'minLength' && schema.minLength === 1) return 'not be empty'
  const types = schema.type === undefined ? [] : [schema.type].flat()
  if (keyword !== 'type' && keyword !== 'minimum' && keyword !== 'maximum')
    return (violation.message ?? keyword).replace(/^must /, '')
  const { minimum, maximum } = schema
  let range = ''
  if (minimum !== undefined && maximum !== undefined) range = ` from ${minimum} to ${maximum}`
  else if (minimum !== undefined) range = ` of at least ${minimum}`
  else if (maximum !== undefined) range = ` of at most ${maximum}`
  return `be ${types.map(typeName).join(' or ') || 'a number'}${range}`
}

function typeName(type: string): string {
  const names: Readonly<Record<string, string>> = {
    array: 'a list',
    boolean: 'true or false',
    integer: 'an integer',
    number: 'a number',
    object: 'an object',
    string: 'a string',
  }
  return names[type] ?? type
}

function remedyText(path: readonly string[], schema: ConfigSchema | undefined): string {
  return schema?.description ? `${keyPath(path) || 'configuration'}: ${schema.description}` : ''
}

/** The value as JSON, cut. */
export function showValue(value: unknown): string {
  const text = JSON.stringify(value) ?? 'undefined'
  return text.length <= SHOWN_VALUE_LENGTH ? text : `${text.slice(0, SHOWN_VALUE_LENGTH)}...`
}

/** "ipam.ranges[0].subnet" */
function keyPath(parts: readonly string[]): string {
  return parts
    .map(part => (/^[0-9]+$/.test(part) ? `[${part}]` : `.${part}`))
    .join('')
    .replace(/^\./, '')
}

/** The parts of a JSON pointer, RFC 6901. */
function pointerParts(pointer: string): string[] {
  return pointer
    .split('/')
    .slice(1)
    .map(part => part.replaceAll('~1', '/').replaceAll('~0', '~'))
}

function at(value: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>((node, part) => (node as Record<string, unknown> | undefined)?.[part], value)
}
