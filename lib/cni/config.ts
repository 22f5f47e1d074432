/**
 * Reading a configuration by its schema, which is the single source of names, types, ranges, defaults and of what a
 * user is told. Validators are generated: see scripts/build-validators.mjs for how a plugin gets one.
 */

import type { NetworkConfig } from './types.ts'
import { violationError } from './violation.ts'

/** The part of JSON Schema that is read at run time; references are resolved when the validator is built. */
export interface ConfigSchema {
  readonly type?: string | readonly string[]
  readonly description?: string
  readonly properties?: Readonly<Record<string, ConfigSchema>>
  readonly additionalProperties?: boolean | ConfigSchema
  readonly items?: ConfigSchema
  readonly allOf?: readonly ConfigSchema[]
  readonly anyOf?: readonly ConfigSchema[]
  readonly oneOf?: readonly ConfigSchema[]
  readonly enum?: readonly unknown[]
  readonly const?: unknown
  readonly minimum?: number
  readonly maximum?: number
  readonly [keyword: string]: unknown
}

/** What ajv tells of one violation. */
export interface Violation {
  /** JSON pointer to the value. */
  readonly instancePath: string
  /** JSON pointer to the keyword, with a leading "#". */
  readonly schemaPath: string
  readonly keyword: string
  readonly params: Readonly<Record<string, unknown>>
  readonly message?: string
}

/** A generated validator. It fills in defaults, so the value must be a copy. */
export interface Validate {
  (value: unknown): boolean
  readonly errors?: readonly Violation[] | null
}

/**
 * The configuration as the schema spells it: keys renamed, nulls removed, defaults filled in, unknown keys kept.
 * The type argument is the caller's promise that its interface says what its schema says.
 *
 * @throws CniError code 7 with the path, the value and what is allowed; all violations are listed
 */
export function parseConfig<T>(
  config: NetworkConfig | Readonly<Record<string, unknown>>,
  schema: ConfigSchema,
  validate: Validate,
): T {
  const copy = normalise(config, schema)
  if (!validate(copy)) throw violationError(copy, schema, validate.errors ?? [])
  return copy as T
}

/**
 * A copy in the schema's spelling. As in Go's JSON decoding, keys that the schema knows match without regard to case,
 * of several spellings the last wins, and null leaves a key unset. What the schema does not know is copied as it is.
 */
export function normalise(value: unknown, schema: ConfigSchema): unknown {
  if (Array.isArray(value)) {
    const items = schema.items
    return items === undefined ? value : value.map(item => normalise(item, items))
  }
  if (typeof value !== 'object' || value === null) return value
  const properties = propertiesOf(schema)
  const copy: Record<string, unknown> = {}
  for (const [key, member] of Object.entries(value)) {
    // Assigning it would set the copy's prototype; no plugin knows such a key.
    if (key === '__proto__') continue
    const name = knownName(key, properties)
    if (name === undefined) {
      const rest = schema.additionalProperties
      copy[key] = typeof rest === 'object' ? normalise(member, rest) : member
    } else if (member !== null) {
      copy[name] = normalise(member, properties[name] ?? {})
    }
  }
  return copy
}

/** The properties of an object and of all the alternatives it may be. */
function propertiesOf(schema: ConfigSchema): Readonly<Record<string, ConfigSchema>> {
  const alternatives = [...(schema.allOf ?? []), ...(schema.anyOf ?? []), ...(schema.oneOf ?? [])]
  const own = schema.properties ?? {}
  return alternatives.length === 0 ? own : Object.assign({}, ...alternatives.map(propertiesOf), own)
}

function knownName(key: string, properties: Readonly<Record<string, ConfigSchema>>): string | undefined {
  if (Object.hasOwn(properties, key)) return key
  const lower = key.toLowerCase()
  for (const name in properties) if (name.toLowerCase() === lower) return name
  return undefined
}
