/** Versions of the specification whose results have one form, with the conversion from and to that of 1.1.0. */

import type { ConfigSchema, Validate } from '../config.ts'
import type { CniVersion, Result } from '../types.ts'

export interface ResultFamily<Document> {
  readonly versions: readonly CniVersion[]
  readonly schema: ConfigSchema
  readonly validate: Validate
  /** @throws CniError code 7 for text that is not an address */
  read(document: Document): Result
  /** Keys in alphabetical order, `cniVersion` apart. @throws CniError code 1 when the form cannot hold the result */
  write(result: Result, version: CniVersion): Readonly<Record<string, unknown>>
}
