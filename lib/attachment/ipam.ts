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
 * Asks for addresses and makes the link, in the order that suits the address plugin. One of this executable only keeps
 * accounts: asked first, an exhausted pool costs no link. Any other may want to find the interface, as dhcp does.
 * @param ipamType undefined for a network without addresses
 */
export function addressAndLink<A, L>(
  request: AttachmentRequest,
  ipamType: string | undefined,
  address: (type: string) => A,
  makeLink: () => L,
): { readonly addressed: A | undefined; readonly link: L } {
  if (ipamType === undefined) return { addressed: undefined, link: makeLink() }
  if (request.builtins.has(ipamType)) {
    const addressed = address(ipamType)
    return { addressed, link: makeLink() }
  }
  const link = makeLink()
  return { addressed: address(ipamType), link }
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
