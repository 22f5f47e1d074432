/** Finding the device that a configuration names. */

import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import { getLink, type Link, listLinks } from '../../lib/netlink/route/link/index.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import type { Selector } from './config.ts'
import { parseHardwareAddress, sameHardwareAddress } from './hardware-address.ts'
import { busDirectory, hasUserspaceDriver, interfacesOf } from './sysfs.ts'

/** Undefined when the host has no such interface. @throws CniError code 104 when there are several */
export function findDevice(host: NetlinkSocket, { key, value }: Selector): Link | undefined {
  switch (key) {
    case 'device':
      return getLink(host, { name: value })
    case 'hwaddr':
      return findByAddress(host, value)
    case 'kernelpath':
      return firstOf(host, value)
    case 'pciBusID':
    case 'runtimeConfig.deviceID': {
      const directory = busDirectory(key, value)
      return directory === undefined ? undefined : firstOf(host, directory)
    }
  }
}

/** As in Go, the first of several interfaces of one device. */
function firstOf(host: NetlinkSocket, directory: string): Link | undefined {
  for (const name of interfacesOf(directory)) {
    const link = getLink(host, { name })
    if (link !== undefined && !link.loopback) return link
  }
  return undefined
}

/** A bridge or a VLAN on a card has the card's address as a rule: what no kind has made comes first. */
function findByAddress(host: NetlinkSocket, text: string): Link | undefined {
  const address = parseHardwareAddress(text)
  const links = listLinks(host)
  const having = links.filter(link => sameHardwareAddress(link.mac, address))
  const cards = having.filter(link => link.kind === undefined)
  const candidates = cards.length > 0 ? cards : having
  // Ports of a bond share one address, but each has its own in its hardware.
  const permanent = links.filter(link => sameHardwareAddress(link.permanentMac, address))
  const found = candidates.length === 1 ? candidates : permanent.length > 0 ? permanent : candidates
  if (found.length < 2) return found[0]
  throw new CniError(
    ErrorCode.conflict,
    `several interfaces have the hardware address ${text}: ${found.map(link => link.name).join(', ')}`,
    'name the one that is meant with the key "device"',
  )
}

/** Whether the configuration names a device that a program drives, without an interface. */
export function isForProgram({ key, value }: Selector): boolean {
  if (key !== 'pciBusID' && key !== 'runtimeConfig.deviceID') return false
  const directory = busDirectory(key, value)
  return directory !== undefined && hasUserspaceDriver(directory)
}

/** For the result: undefined when the configuration does not name a PCI device. */
export function pciAddress({ key, value }: Selector): string | undefined {
  if (key !== 'pciBusID' && key !== 'runtimeConfig.deviceID') return undefined
  return busDirectory('pciBusID', value) === undefined ? undefined : value
}

/** `device "eth1"`, `device with hwaddr "52:54:00:12:34:56"` */
export function describeSelector({ key, value }: Selector): string {
  return key === 'device' ? `device "${value}"` : `device with ${key} "${value}"`
}
