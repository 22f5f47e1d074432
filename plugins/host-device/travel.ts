/** A device on its way into a container and back. */

import { formatMac } from '../../lib/address/mac.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import type { NetlinkError } from '../../lib/netlink/error.ts'
import type { Request } from '../../lib/netlink/message.ts'
import { getLink, type Link, listLinks, setLink, setLinkRequest } from '../../lib/netlink/route/link/index.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import type { NetworkNamespace } from '../../lib/netns/index.ts'
import { Errno } from '../../lib/sys/errno.ts'
import { parseHardwareAddress } from './hardware-address.ts'
import type { Home } from './home.ts'
import { type DeviceRecord, formatRecord } from './record.ts'

export interface Container {
  readonly container: NetlinkSocket
  readonly namespace: NetworkNamespace
}

/**
 * Moves a device into the container, under the name that it has there and with its record: one request, so that of two
 * containers that want it one gets it, and never without the record that leads it back.
 * @throws CniError code 104 for a link that the kernel does not move, NetlinkError ENODEV for one that is gone
 */
export function moveIn(home: Home, { container, namespace }: Container, link: Link, record: DeviceRecord): void {
  const { text, isComplete } = formatRecord(record)
  if (!isComplete) home.warn(`the alias of "${link.name}" is too long to be kept and will be gone: ${link.alias}`)
  const { index } = link
  const [failure] = home.socket.tryAll([
    setLinkRequest({ index, namespace: namespace.fd, name: record.ifname, alias: text }),
  ])
  if (failure === undefined) return
  // Moved and not renamed: somebody else has taken the name since it was looked at.
  const isHere = getLink(home.socket, { index })?.name === link.name
  const moved = isHere ? undefined : getLink(container, { name: link.name })
  if (moved !== undefined) moveHome(home, container, moved, record)
  throw explain(failure, link, record)
}

function explain(failure: NetlinkError, link: Link, record: DeviceRecord): Error {
  if (failure.errno === Errno.EINVAL)
    return new CniError(
      ErrorCode.conflict,
      `"${link.name}" cannot be moved into a container: the kernel keeps it in its namespace (${failure.message})`,
      `${link.kind ? `links of kind "${link.kind}"` : 'such interfaces'} belong to their host: name another device`,
      { cause: failure },
    )
  if (failure.errno === Errno.EEXIST)
    return new CniError(
      ErrorCode.conflict,
      `"${link.name}" cannot become "${record.ifname}" in the container: the name is taken there`,
      'run DEL for the attachment first, or choose another interface name',
      { cause: failure },
    )
  return failure
}

/** Any name that is free, for a device whose own is not. */
const ANY_NAME = 'dev%d'

/**
 * Moves a device back to the host and makes it what it was.
 * @param link as the container's namespace has it
 * @returns the device as it arrived on the host
 */
export function moveHome(home: Home, container: NetlinkSocket, link: Link, record: DeviceRecord): Link {
  const alias = formatRecord(record).text
  const move = (name: string) =>
    container.tryAll([setLinkRequest({ index: link.index, namespace: home.namespace.fd, name, alias })])[0]
  const isFree = getLink(home.socket, { name: record.name }) === undefined
  let failure = move(isFree ? record.name : ANY_NAME)
  if (failure?.errno === Errno.EEXIST && getLink(container, { index: link.index }) !== undefined)
    failure = move(ANY_NAME)
  const arrived = listLinks(home.socket).find(one => one.alias === alias)
  if (arrived === undefined)
    throw failure ?? new CniError(ErrorCode.kernel, `"${link.name}" vanished on its way to the host`)
  restore(home, arrived, record)
  return arrived
}

/**
 * Makes a device that is back what it was before it left. As long as its name is taken it keeps the record, so that
 * another DEL or GC can give it back.
 */
export function restore(home: Home, link: Link, record: DeviceRecord): void {
  const { socket } = home
  const { index } = link
  if (link.name !== record.name) {
    const [failure] = socket
      .tryAll([
        // Kernels before 6.2 rename no link that is up.
        setLinkRequest({ index, up: false }),
        setLinkRequest({ index, name: record.name }),
      ])
      .filter(one => one !== undefined)
    if (failure?.errno === Errno.EEXIST) {
      home.warn(`"${link.name}" cannot have its name "${record.name}" back, which another interface has now`)
      return
    }
    if (failure !== undefined) throw failure
  }
  for (const failure of socket.tryAll(settings(link, record)))
    if (failure !== undefined) home.warn(`"${record.name}" is not as it was: ${failure.message}`)
  setLink(socket, { index, alias: record.alias })
}

function settings(link: Link, record: DeviceRecord): Request[] {
  const { index } = link
  const mac = parseHardwareAddress(record.mac)
  const hasOtherMac = mac !== undefined && formatMac(link.mac ?? new Uint8Array()) !== record.mac
  return [
    // Most drivers change the address of a link that is down only.
    ...(hasOtherMac ? [setLinkRequest({ index, up: false }), setLinkRequest({ index, mac })] : []),
    ...(link.mtu === record.mtu ? [] : [setLinkRequest({ index, mtu: record.mtu })]),
    setLinkRequest({ index, up: record.up }),
  ]
}
