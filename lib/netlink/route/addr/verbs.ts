/** `ip address`: requests sent and answered at once. */

import type { Family } from '../../../address/address.ts'
import { Errno } from '../../../sys/errno.ts'
import { request } from '../../message.ts'
import type { NetlinkSocket } from '../../socket.ts'
import { familyNumber } from '../family.ts'
import { RouteMessage } from '../message-types.ts'
import { type Address, addressFormat, decodeAddress } from './address.ts'
import { addAddressRequest, deleteAddressRequest, type NewAddress, replaceAddressRequest } from './requests.ts'

/** @throws NetlinkError, EEXIST when the link has the address */
export function addAddress(socket: NetlinkSocket, address: NewAddress): void {
  socket.execute(addAddressRequest(address))
}

/** @throws NetlinkError */
export function replaceAddress(socket: NetlinkSocket, address: NewAddress): void {
  socket.execute(replaceAddressRequest(address))
}

/**
 * @param options.missing "ignore" to accept that the address or the link is not there
 * @returns whether it was there
 * @throws NetlinkError
 */
export function deleteAddress(
  socket: NetlinkSocket,
  address: NewAddress,
  options: { missing?: 'ignore' } = {},
): boolean {
  const [failure] = socket.tryAll([deleteAddressRequest(address)])
  if (failure === undefined) return true
  if (options.missing === 'ignore' && (failure.errno === Errno.EADDRNOTAVAIL || failure.errno === Errno.ENODEV))
    return false
  throw failure
}

/** Which addresses; all of them when empty. */
export interface AddressFilter {
  /** Of one link. */
  readonly index?: number | undefined
  readonly family?: Family | undefined
}

/** @throws NetlinkError, ENODEV when the filter's link does not exist */
export function listAddresses(socket: NetlinkSocket, filter: AddressFilter = {}): Address[] {
  const answers = socket.dump(
    addressFormat,
    request(addressFormat, {
      type: RouteMessage.getAddress,
      operation: filter.index === undefined ? 'list addresses' : `list addresses of link ${filter.index}`,
      header: { family: familyNumber(filter.family), index: filter.index ?? 0 },
    }),
  )
  // A kernel without IPv6 answers with everything it has.
  return answers
    .map(decodeAddress)
    .filter(address => address !== undefined)
    .filter(address => filter.family === undefined || address.family === filter.family)
}
