/** Results as documents of a version, and as values. */

import { CniError, ErrorCode } from '../cni/errors.ts'
import { formatResult, isCniVersion, parseResult } from '../cni/results/index.ts'
import type { CniVersion, Result } from '../cni/types.ts'
import type { ResultDocument } from './plugin-input.ts'

function knownVersion(version: string): CniVersion {
  if (isCniVersion(version)) return version
  throw new CniError(ErrorCode.incompatibleVersion, `results of version ${JSON.stringify(version)} are not known`)
}

/** What a result says, whatever its version. @throws CniError 1 or 7 */
export function readResult(document: ResultDocument): Result {
  return parseResult(document, knownVersion(document.cniVersion))
}

/**
 * The result in the version of the configuration, as plugins expect `prevResult`. The two differ only when the
 * configuration was changed while the container ran; else the document is left as the plugin printed it.
 * @throws CniError 1 or 7 when it cannot be converted
 */
export function resultInVersion(document: ResultDocument, version: string): ResultDocument {
  if (document.cniVersion === version) return document
  return { ...formatResult(readResult(document), knownVersion(version)), cniVersion: version }
}
