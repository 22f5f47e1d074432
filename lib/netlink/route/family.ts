/** Address families as the kernel numbers them. @see linux/socket.h, AF_* */

import type { Family, IpAddress } from '../../address/address.ts'
import { allocate } from '../../sys/bytes.ts'

export const AddressFamily = { unspecified: 0, ipv4: 2, bridge: 7, ipv6: 10 } as const

/** 0, which stands for every family, when none is given. */
export function familyNumber(family: Family | undefined): number {
  if (family === undefined) return AddressFamily.unspecified
  return family === 4 ? AddressFamily.ipv4 : AddressFamily.ipv6
}

export function familyNumberOf(address: IpAddress): number {
  return familyNumber(address.length === 4 ? 4 : 6)
}

/** 4 or 6; undefined for a family that is not IP. */
export function familyFromNumber(number: number | undefined): Family | undefined {
  if (number === AddressFamily.ipv4) return 4
  return number === AddressFamily.ipv6 ? 6 : undefined
}

/** The unspecified address: 0.0.0.0 or "::". */
export function anyAddress(family: Family): IpAddress {
  return allocate(family === 4 ? 4 : 16)
}
