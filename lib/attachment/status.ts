/** STATUS: one answer for whatever keeps a plugin from serving ADD. */

import { CniError, ErrorCode } from '../cni/errors.ts'
import { toCniError } from '../cni/failure.ts'

/** Runs a plugin's examination; what it throws means "unavailable". @throws CniError code 50, or as `asItIs` says */
export function answerStatus(examine: () => void): void {
  try {
    examine()
  } catch (error) {
    const { code, message, details } = toCniError(error)
    throw new CniError(asItIs.has(code) ? code : ErrorCode.unavailable, message, details, { cause: error })
  }
}

/** A configuration that is wrong, and what an address plugin itself says about its state. */
const asItIs: ReadonlySet<number> = new Set([
  ErrorCode.incompatibleVersion,
  ErrorCode.invalidNetworkConfig,
  ErrorCode.unavailable,
  ErrorCode.unavailableAndLimited,
])
