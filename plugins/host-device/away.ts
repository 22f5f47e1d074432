/** Devices that are away, in whichever namespace: looked for only when something is missing, and by GC. */

import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import { type Link, listLinks } from '../../lib/netlink/route/link/index.ts'
import { NetlinkProtocol, type NetlinkSocket } from '../../lib/netlink/socket.ts'
import { visitNamespaces } from '../../lib/netns/index.ts'
import type { Selector } from './config.ts'
import { describeSelector } from './device.ts'
import { parseHardwareAddress, sameHardwareAddress } from './hardware-address.ts'
import type { Home } from './home.ts'
import { type DeviceRecord, parseRecord } from './record.ts'
import { isPresent } from './sysfs.ts'

export interface Recorded {
  readonly link: Link
  readonly record: DeviceRecord
}

/** Links of a namespace that have a record. */
export function listRecorded(socket: NetlinkSocket): Recorded[] {
  return listLinks(socket).flatMap(link => {
    const record = parseRecord(link.alias)
    return record === undefined ? [] : [{ link, record }]
  })
}

/** Visits the devices of this host in the namespaces of containers, until a visit returns something. */
export function findAway<T>(
  home: Home,
  visit: (recorded: Recorded, container: NetlinkSocket, path: string) => T | undefined,
): T | undefined {
  const { identity } = home.namespace
  return visitNamespaces(namespace => {
    if (namespace.identity === identity) return undefined
    return namespace.withSocket(NetlinkProtocol.route, socket => {
      for (const recorded of listRecorded(socket)) {
        const result = recorded.record.home === identity ? visit(recorded, socket, namespace.path) : undefined
        if (result !== undefined) return result
      }
      return undefined
    })
  })
}

/** Whether a device is the one that a configuration names, as far as its name or address tells. */
export function isSelected({ link, record }: Recorded, { key, value }: Selector): boolean {
  if (key === 'device') return record.name === value || link.alternativeNames.includes(value)
  if (key !== 'hwaddr') return false
  const address = parseHardwareAddress(value)
  return [link.mac, link.permanentMac, parseHardwareAddress(record.mac)].some(one => sameHardwareAddress(one, address))
}

/** Who has the device that a configuration names: `container "abc" of network "lan", as "eth0" (namespace "...")`. */
export function findOwner(home: Home, selector: Selector): string | undefined {
  return findAway(home, (recorded, _, path) => {
    if (!isSelected(recorded, selector)) return undefined
    const { network, containerId } = recorded.record
    return `container "${containerId}" of network "${network}", as "${recorded.link.name}" (namespace "${path}")`
  })
}

/** Why there is no such device: somebody has it, code 104, or nobody does, code 109. */
export function missingDevice(home: Home, selector: Selector): CniError {
  const what = describeSelector(selector)
  const owner = findOwner(home, selector)
  if (owner !== undefined)
    return new CniError(
      ErrorCode.conflict,
      `${what} is in use by ${owner}`,
      'it comes back with DEL of that container; or name another device',
    )
  if (isPresent(selector))
    return new CniError(
      ErrorCode.linkMissing,
      `${what} has no interface on the host`,
      'a container may have it, which "ip netns" and "ip -n NAME -d link" show, or its driver gives it none',
    )
  return new CniError(
    ErrorCode.linkMissing,
    `${what} does not exist on the host`,
    '"ip -d link" lists the interfaces with their addresses; one that is in a container is not among them',
  )
}
