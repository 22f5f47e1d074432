/**
 * firewalld, asked over D-Bus: the addresses of containers become sources of a zone whose target lets through what is
 * forwarded. The packages for D-Bus work with an event loop, which a plugin does not have; systemd's busctl asks for us.
 */

import { formatAddress, type IpAddress } from '../address/address.ts'
import { CniError, ErrorCode } from '../cni/errors.ts'
import { hasFirewalld } from './foreign-drops.ts'
import type { ForwardingCarrier, ForwardingOptions } from './forwarding-intent.ts'
import { findProgram, runProgram } from './iptables/program.ts'
import { addressesOfAttachment, addressesOfLost } from './nftables/forwarding-owners.ts'

const service = ['org.fedoraproject.FirewallD1', '/org/fedoraproject/FirewallD1', 'org.fedoraproject.FirewallD1.zone']

/** As firewalld writes it. */
const sourceOf = (address: IpAddress): string => `${formatAddress(address)}/${address.length * 8}`

/** What the program prints. @throws CniError code 7 for an unknown zone, otherwise 108 */
function call(method: string, address: IpAddress, { zone, environment }: ForwardingOptions): string {
  requireProgram(environment)
  try {
    return runProgram(['busctl'], {
      arguments: ['--system', 'call', ...service, method, 'ss', zone, sourceOf(address)],
      environment,
    })
  } catch (error) {
    if (!says(error, 'INVALID_ZONE')) throw error
    throw new CniError(
      ErrorCode.invalidNetworkConfig,
      `firewalld has no zone "${zone}"`,
      'firewalldZone: one of those that "firewall-cmd --get-zones" lists, with the target ACCEPT',
      { cause: error },
    )
  }
}

function requireProgram(environment: ForwardingOptions['environment']): void {
  try {
    findProgram(['busctl'], environment)
  } catch (error) {
    throw new CniError(
      ErrorCode.hostProgramFailed,
      'firewalld is asked over D-Bus with "busctl", which is not installed',
      'It is part of systemd. Without it set "backend": "iptables", and let the containers through in firewalld yourself.',
      { cause: error },
    )
  }
}

/** Whether the error is firewalld's, of this name. */
function says(error: unknown, name: string): boolean {
  return error instanceof CniError && error.message.includes(name)
}

/** @throws CniError code 108 */
function isInZone(address: IpAddress, options: ForwardingOptions): boolean {
  return call('querySource', address, options).trim() === 'b true'
}

/** Until firewalld reloads. @returns whether it was not there before */
function addToZone(address: IpAddress, options: ForwardingOptions): boolean {
  try {
    call('addSource', address, options)
    return true
  } catch (error) {
    if (says(error, 'ZONE_ALREADY_SET')) return false
    if (!says(error, 'ZONE_CONFLICT')) throw error
    throw new CniError(
      ErrorCode.conflict,
      `${sourceOf(address)} is in another zone of firewalld than "${options.zone}"`,
      `"firewall-cmd --get-zone-of-source=${sourceOf(address)}" tells which: remove it there, or name that zone as "firewalldZone".`,
      { cause: error },
    )
  }
}

/** One that is not there is fine, and so is a firewalld that is not. */
function removeFromZone(address: IpAddress, options: ForwardingOptions): void {
  try {
    call('removeSource', address, options)
  } catch (error) {
    if (!says(error, 'UNKNOWN_SOURCE') && !says(error, 'has no zone') && hasFirewalld()) throw error
  }
}

/** What it knows of owners is what nftables says, where the addresses stand besides. */
export const firewalldForwarding: ForwardingCarrier = {
  add(_, { addresses }, options) {
    const added: IpAddress[] = []
    try {
      for (const address of addresses) if (addToZone(address, options)) added.push(address)
      return added.length > 0
    } catch (error) {
      for (const address of added) removeFromZone(address, options)
      throw error
    }
  },
  check(_, { addresses }, options) {
    for (const address of addresses) {
      if (isInZone(address, options)) continue
      throw new CniError(
        ErrorCode.checkFailed,
        `${sourceOf(address)} is not in zone "${options.zone}" of firewalld`,
        'A reload of firewalld removes what was not made permanent: create the container again.',
      )
    }
  },
  delete(attachment, addresses, options) {
    for (const address of addressesOfAttachment(attachment, addresses ?? [])) removeFromZone(address, options)
  },
  gc(network, valid, options) {
    for (const address of addressesOfLost(network, valid)) removeFromZone(address, options)
  },
  status(options) {
    call('querySource', Uint8Array.of(127, 0, 0, 1), options)
  },
}
