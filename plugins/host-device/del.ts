/** DEL: the device goes back to the host and is what it was; then its addresses are free. */

import { formatMac } from '../../lib/address/mac.ts'
import { releaseAddresses } from '../../lib/attachment/ipam.ts'
import { withContainerSocket } from '../../lib/attachment/sockets.ts'
import type { AttachmentRequest } from '../../lib/cni/types.ts'
import { type Link, listLinks } from '../../lib/netlink/route/link/index.ts'
import { listRecorded, type Recorded } from './away.ts'
import { type HostDeviceConfig, parseHostDeviceConfig } from './config.ts'
import { parseHardwareAddress, sameHardwareAddress } from './hardware-address.ts'
import { type Home, withHome } from './home.ts'
import { isOf, parseRecord, recordOf } from './record.ts'
import { moveHome, restore } from './travel.ts'

export function del(request: AttachmentRequest): void {
  const config = parseHostDeviceConfig(request)
  withHome(request, home => {
    let isBack = false
    withContainerSocket(request.netns, container => {
      const found = findIn(listLinks(container), home, request, config)
      if (found === undefined) return
      moveHome(home, container, found.link, found.record)
      isBack = true
    })
    // It came back by itself when the namespace died, or a DEL that was killed has brought it halfway.
    if (!isBack) restoreReturned(home, request)
  })
  // Only now: an address may be given out again when the interface that had it is gone, and not before.
  if (config.ipamType !== undefined) releaseAddresses(request, config.ipamType)
}

function restoreReturned(home: Home, request: AttachmentRequest): void {
  const returned = listRecorded(home.socket).find(({ record }) => isOf(record, request))
  if (returned !== undefined) restore(home, returned.link, returned.record)
}

/** The attachment's device by its record, whatever it is called by now; else one without a record, if it is certain. */
function findIn(
  links: readonly Link[],
  home: Home,
  request: AttachmentRequest,
  config: HostDeviceConfig,
): Recorded | undefined {
  for (const link of links) {
    const record = parseRecord(link.alias)
    if (record !== undefined && isOf(record, request)) return { link, record }
  }
  return movedByGo(links, home, request, config) ?? withLostRecord(links, home, request, config)
}

/**
 * The Go plugin writes the device's name, and nothing else, into the alias. A runtime asks for DEL also after an ADD that
 * was refused because the container had another interface of that name, so the device has to be the configured one.
 */
function movedByGo(
  links: readonly Link[],
  home: Home,
  request: AttachmentRequest,
  { selector }: HostDeviceConfig,
): Recorded | undefined {
  const link = links.find(one => one.name === request.ifname)
  const name = link?.alias
  if (link === undefined || name === undefined || name.length > 15 || name.includes(' ')) return undefined
  const isMeant =
    selector?.key === 'device'
      ? name === selector.value || link.alternativeNames.includes(selector.value)
      : selector?.key === 'hwaddr'
        ? sameHardwareAddress(link.mac, parseHardwareAddress(selector.value))
        : link.kind === undefined && !link.loopback
  return isMeant
    ? { link, record: { ...recordOf(link, home.namespace.identity, request), name, up: false, alias: '' } }
    : undefined
}

/** Somebody in the container has changed the alias: the result of ADD and the configuration still tell the device. */
function withLostRecord(
  links: readonly Link[],
  home: Home,
  request: AttachmentRequest,
  { selector }: HostDeviceConfig,
): Recorded | undefined {
  const { ifname, netns, prevResult } = request
  const own = prevResult?.interfaces?.find(one => one.name === ifname && one.sandbox === netns)
  if (!own?.mac || selector?.key !== 'device') return undefined
  const having = links.filter(link => formatMac(link.mac ?? new Uint8Array()) === own.mac)
  const link = having.find(one => one.name === ifname) ?? having.find(one => one.kind === undefined)
  if (link === undefined) return undefined
  home.warn(`"${link.name}" goes back to the host as "${selector.value}", without what its alias had told`)
  return {
    link,
    record: { ...recordOf(link, home.namespace.identity, request), name: selector.value, up: false, alias: '' },
  }
}
