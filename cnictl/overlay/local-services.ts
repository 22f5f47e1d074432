/** Published ports as nftables of this host has them: which there are, and how their slots are shared among replicas. */

import { formatAddress } from '../../lib/address/address.ts'
import { elementsOfSet } from '../../lib/firewall/nftables/ruleset.ts'
import { openNftables } from '../../lib/firewall/nftables/socket.ts'
import { NetlinkProtocol, type NetlinkSocket } from '../../lib/netlink/socket.ts'
import { namespacePath, openNamespaceIfExists } from '../../lib/netns/index.ts'
import { readSlot } from '../../lib/overlay/mesh/elements.ts'
import { protocolName } from '../../lib/overlay/mesh/ports.ts'
import { families, lengthOf, meshTable, nameFor } from '../../lib/overlay/mesh/rules.ts'
import { LOAD_BALANCER } from '../../lib/overlay/names.ts'

/** How many slots lead to each target, "10.255.0.5:80" or "[fd00::5]:80". */
export type Slots = ReadonlyMap<string, number>

export interface LocalServices {
  /** Ports that this host answers at, as "8080/tcp". */
  readonly published: ReadonlySet<string>
  /** Whether the load balancer is there, which ports of mode mesh need. */
  readonly hasLoadBalancer: boolean
  /** By port. */
  readonly mesh: ReadonlyMap<string, Slots>
  readonly local: ReadonlyMap<string, Slots>
}

/** @throws NetlinkError, SysError */
export function localServices(): LocalServices {
  const host = openNftables()
  const balancer = openNamespaceIfExists(namespacePath(LOAD_BALANCER))
  const inside = balancer?.openSocket(NetlinkProtocol.netfilter)
  try {
    return {
      published: host === undefined ? new Set() : readPublished(host),
      hasLoadBalancer: balancer !== undefined,
      mesh: inside === undefined ? new Map() : readSlots(inside, 'replicas'),
      local: host === undefined ? new Map() : readSlots(host, 'local-replicas'),
    }
  } finally {
    inside?.close()
    balancer?.close()
    host?.close()
  }
}

function readPublished(socket: NetlinkSocket): Set<string> {
  const elements = elementsOfSet(socket, { ...meshTable, set: 'published' })
  return new Set(elements.map(({ key }) => `${((key[4] ?? 0) << 8) | (key[5] ?? 0)}/${protocolName(key[0] ?? 0)}`))
}

function readSlots(socket: NetlinkSocket, map: string): Map<string, Map<string, number>> {
  const byPort = new Map<string, Map<string, number>>()
  for (const family of families) {
    for (const element of elementsOfSet(socket, { ...meshTable, set: nameFor(map, family) })) {
      const slot = readSlot(element, lengthOf(family))
      if (slot === undefined) continue
      const port = `${slot.port}/${protocolName(slot.protocol)}`
      const slots = byPort.get(port) ?? new Map<string, number>()
      const target = formatTarget(formatAddress(slot.target.address), slot.target.port)
      byPort.set(port, slots.set(target, (slots.get(target) ?? 0) + 1))
    }
  }
  return byPort
}

/** "10.255.0.5:80", "[fd00::5]:80" */
export function formatTarget(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}
