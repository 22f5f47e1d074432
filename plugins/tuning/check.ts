/** CHECK: everything that is configured is still as ADD has set it. */

import { formatMac } from '../../lib/address/mac.ts'
import { failCheck, requirePrevResult } from '../../lib/attachment/check.ts'
import { type Sockets, withSockets } from '../../lib/attachment/sockets.ts'
import type { AttachmentRequest } from '../../lib/cni/types.ts'
import { getLink, type Link } from '../../lib/netlink/route/link/index.ts'
import { type InterfaceSettings, parseTuningConfig } from './config.ts'
import { findHostEnd, hostEndMtu, presentSettings } from './interface.ts'
import { differingSysctl } from './sysctls.ts'

export function check(request: AttachmentRequest): void {
  const { sysctls, settings } = parseTuningConfig(request)
  requirePrevResult(request)
  withSockets(request.netns, sockets => {
    const difference = differingSysctl(sockets.namespace, sysctls)
    if (difference !== undefined) failCheck(difference)
    const link = getLink(sockets.container, { name: request.ifname })
    if (link === undefined) failCheck(`interface "${request.ifname}" is gone from the container`)
    checkInterface(link, settings)
    if (settings.mtu !== undefined) checkHostEnd(sockets, link, settings.mtu)
  })
}

function checkInterface(link: Link, settings: InterfaceSettings): void {
  const present = presentSettings(link, settings)
  const compare = <T>(what: string, is: T, wanted: T): void => {
    if (is !== wanted) failCheck(`${what} of "${link.name}" is ${is}, configured is ${wanted}`)
  }
  const textOf = ({ mac }: InterfaceSettings) => mac && formatMac(mac)
  compare('MAC address', textOf(present), textOf(settings))
  compare('MTU', present.mtu, settings.mtu)
  // Off as well, as in Go; what programs ask for to listen does not count.
  compare('promiscuous mode', link.promiscuous, settings.promiscuous ?? false)
  compare('all-multicast mode', present.allMulticast, settings.allMulticast)
  compare('transmit queue length', present.txQueueLength, settings.txQueueLength)
}

/** A larger one harms nobody. */
function checkHostEnd(sockets: Sockets, link: Link, mtu: number): void {
  const hostEnd = findHostEnd(sockets, link)
  if (hostEnd !== undefined && hostEnd.mtu < hostEndMtu(mtu)) {
    failCheck(`the host's end "${hostEnd.name}" of "${link.name}" has MTU ${hostEnd.mtu}, configured is ${mtu}`)
  }
}
