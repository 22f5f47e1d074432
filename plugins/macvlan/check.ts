/** CHECK: the attachment is as ADD left it. What later plugins of the chain may change is left to them. */

import {
  checkAddresses,
  checkInterface,
  checkRoutes,
  failCheck,
  ownAddresses,
  requirePrevResult,
} from '../../lib/attachment/check.ts'
import { withSockets } from '../../lib/attachment/sockets.ts'
import { delegateCheck } from '../../lib/cni/delegate.ts'
import type { AttachmentRequest } from '../../lib/cni/types.ts'
import type { Link } from '../../lib/netlink/route/link/index.ts'
import { type MacvlanConfig, parseMacvlanConfig } from './config.ts'
import { HostAccess } from './host-access.ts'
import { masterSocket } from './macvlan-link.ts'
import { findMaster, lowerIndex } from './master.ts'

export function check(request: AttachmentRequest): void {
  const config = parseMacvlanConfig(request)
  const prevResult = requirePrevResult(request)
  if (config.ipamType !== undefined) delegateCheck(request, config.ipamType)
  const prefixes = ownAddresses(request, prevResult).map(({ prefix }) => prefix)
  withSockets(request.netns, sockets => {
    const { host, container } = sockets
    const link = checkInterface(container, request, { kind: 'macvlan', up: true }, prevResult)
    const master = findMaster(masterSocket(sockets, config), config)
    if (master === undefined) failCheck(`master "${config.master}" is gone`)
    checkLink(link, config, master)
    checkAddresses(container, link, prefixes)
    if (config.ipamType !== undefined) checkRoutes(container, request.ifname, prevResult.routes ?? [])
    if (config.hostAccess) {
      const addresses = prefixes.map(prefix => prefix.address)
      new HostAccess(host, request.network, request).check(container, { link, master, addresses })
    }
  })
}

function checkLink(link: Link, config: MacvlanConfig, master: Link): void {
  const { name } = link
  if (!master.up) {
    failCheck(`master "${master.name}" is down`, `"ip link set ${master.name} up" brings it back`)
  }
  const elsewhere = link.parentNamespaceId !== undefined
  if (link.parent !== lowerIndex(master) || elsewhere === config.linkInContainer) {
    failCheck(
      `interface "${name}" is not on master "${master.name}"`,
      'its master has changed, or the key "master" has',
    )
  }
  if (link.macvlan?.mode !== config.mode) {
    failCheck(`interface "${name}" is in mode "${link.macvlan?.mode}", not "${config.mode}"`)
  }
  if (config.mtu > 0 && link.mtu !== config.mtu) {
    failCheck(`interface "${name}" has an MTU of ${link.mtu}, not ${config.mtu}`)
  }
}
