/** Results of every version of the specification, from and to the one form that is used inside. */

import { normalise, parseConfig } from '../config.ts'
import { CniError, ErrorCode } from '../errors.ts'
import type { CniVersion, Result } from '../types.ts'
import { cniVersions } from '../types.ts'
import type { ResultFamily } from './result-family.ts'
import { family020 } from './v020.ts'
import { family040 } from './v040.ts'
import { family100 } from './v100.ts'

const families = [family020, family040, family100] as const

/**
 * Reads a result that has to be of the given version, or of one with the same form; one without a version counts as
 * being of the given one. Null is an empty result.
 *
 * @throws CniError code 7 for another form, and for what the form does not allow
 */
export function parseResult(document: unknown, version: CniVersion): Result {
  if (document === null || document === undefined) return {}
  if (typeof document !== 'object' || Array.isArray(document)) {
    throw new CniError(ErrorCode.invalidNetworkConfig, 'the result is not a JSON object')
  }
  return readAs(familyOf(version), document as Record<string, unknown>, version)
}

function readAs<Document>(family: ResultFamily<Document>, document: Record<string, unknown>, version: CniVersion) {
  const found = resultVersion(document) || version
  if (!family.versions.some(known => known === found)) {
    throw new CniError(
      ErrorCode.invalidNetworkConfig,
      `result type supports [${family.versions.join(' ')}] but unmarshalled CNIVersion is ${JSON.stringify(found)}`,
      `the configuration's "cniVersion" is "${version}": the result must have the form of that version`,
    )
  }
  return family.read(parseConfig<Document>(document, family.schema, family.validate))
}

/** The version that a result names: "" when it names none. */
export function resultVersion(document: Readonly<Record<string, unknown>>): string {
  const { cniVersion } = normalise(document, { properties: { cniVersion: {} } }) as { cniVersion?: unknown }
  return typeof cniVersion === 'string' ? cniVersion : ''
}

/** The result as a document of the given version, `cniVersion` first. @throws CniError code 1 */
export function formatResult(result: Result, version: CniVersion): Record<string, unknown> {
  return { cniVersion: version, ...familyOf(version).write(result, version) }
}

export function isCniVersion(text: string): text is CniVersion {
  return cniVersions.some(version => version === text)
}

function familyOf(version: CniVersion) {
  return families.find(({ versions }) => versions.includes(version)) ?? family100
}
