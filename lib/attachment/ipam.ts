/** Addresses from the IPAM plugin that a network names, as part of an attachment's ADD and DEL. */

import { delegateAdd, delegateDel } from '../cni/delegate.ts'
import { toCniError } from '../cni/failure.ts'
import type { Transaction } from '../cni/transaction.ts'
import type { AttachmentRequest, Result } from '../cni/types.ts'
import { warn } from './warning.ts'

/** A step of ADD: addresses are given back when a later one fails. */
export function allocateAddresses(transaction: Transaction, request: AttachmentRequest, type: string): Result {
  return transaction.step(
    `allocate addresses with "${type}"`,
    () => delegateAdd(request, type),
    () => delegateDel(request, type),
  )
}

/**
 * Releases the addresses: the last thing that DEL does, when nothing uses them any more. A container whose DEL fails
 * cannot be removed: an address that our own plugin could not release is reclaimed by its stamp, and standard error
 * says so. Nobody reclaims another plugin's, so there DEL fails.
 */
export function releaseAddresses(request: AttachmentRequest, type: string): void {
  try {
    delegateDel(request, type)
  } catch (error) {
    if (!request.builtins.has(type)) throw error
    const { message } = toCniError(error)
    warn(request, `${type} could not release the addresses: ${message}`)
  }
}
