/**
 * Virtual addresses of services in a network of this host: the bridge in the overlay namespace has them, beside an address
 * of the host's own from the network's pool, which requests to replicas come from.
 */

import { readHeldBlocks } from '../../ipam/cluster/state-files.ts'
import type { IpAddress } from '../../lib/address/address.ts'
import { formatMac } from '../../lib/address/mac.ts'
import { formatPrefix, type Prefix, samePrefix } from '../../lib/address/prefix.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import { hasChanged, keepTable, removeTable } from '../../lib/firewall/nftables/declared-table.ts'
import { addAddress, deleteAddress, listAddresses } from '../../lib/netlink/route/addr/index.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import { namespacePath } from '../../lib/netns/index.ts'
import { neighbourTable, virtualNeighbours } from '../../lib/overlay/mesh/neighbour-table.ts'
import { networkTable } from '../../lib/overlay/mesh/network-table.ts'
import { meshTable } from '../../lib/overlay/mesh/rules.ts'
import { forgetReplicas, replicasGone } from '../../lib/overlay/mesh/stale-connections.ts'
import { LOAD_BALANCER, OVERLAY_BRIDGE, OVERLAY_VXLAN, overlayNamespaceName } from '../../lib/overlay/names.ts'
import { withOverlay } from '../../lib/overlay/namespace.ts'
import { keepSysctl, withNetfilter } from './kernel.ts'
import { callPlugin } from './plugin-call.ts'
import type { MeshSettings } from './settings.ts'
import { prefixesOf, type WantedVirtualService } from './wanted.ts'

export interface VirtualNetworkOptions {
  readonly mesh: MeshSettings
  readonly socket: string
  readonly dataDirectory: string
}

/** Of the overlay namespace's bridge: undefined when the network is not on this host. */
export function bridgeMac(network: string): string | undefined {
  return withOverlay(network, overlay => {
    const mac = overlay?.bridge?.mac
    return mac && formatMac(mac)
  })
}

/** The host's own addresses on the bridge; virtual ones are alone in their prefix. */
export function ownAddresses(network: string): Prefix[] {
  return withOverlay(network, overlay => {
    if (overlay?.bridge === undefined) return []
    return globalAddresses(overlay.socket, overlay.bridge.index).filter(
      ({ address, length }) => length < address.length * 8,
    )
  })
}

function globalAddresses(socket: NetlinkSocket, index: number): Prefix[] {
  return listAddresses(socket, { index })
    .filter(({ scope }) => scope === 0)
    .map(({ prefix }) => prefix)
}

/**
 * Makes the bridge answer for the virtual addresses and lead to the replicas.
 * @param own the host's addresses in the network
 * @param before replicas whose connections went on until now
 * @returns whether anything had to be changed
 */
export function keepVirtualNetwork(
  network: string,
  own: readonly Prefix[],
  services: readonly WantedVirtualService[],
  before: readonly IpAddress[] = [],
): boolean {
  return withOverlay(network, overlay => {
    const bridge = overlay?.bridge
    if (overlay === undefined || bridge === undefined) return false
    overlay.namespace.run(() => {
      for (const name of ['net/ipv4/ip_forward', 'net/ipv6/conf/all/forwarding']) keepSysctl(name, '1')
      // What comes in through the bridge leaves through it.
      for (const name of ['all', OVERLAY_BRIDGE]) keepSysctl(`net/ipv4/conf/${name}/send_redirects`, '0')
    })
    const virtual = services.map(({ virtualAddress }) => ({
      address: virtualAddress,
      length: virtualAddress.length * 8,
    }))
    return withNetfilter(overlay.namespace, socket => {
      const neighbours = virtualNeighbours(
        OVERLAY_VXLAN,
        services.map(({ virtualAddress }) => virtualAddress),
      )
      // Before the bridge has the addresses, and answers for them.
      const isKeptApart = !hasChanged(keepTable(socket, neighbours))
      // The host's own first: the kernel takes the first for what it sends by itself.
      const changed = keepAddresses(overlay.socket, bridge.index, [...own, ...virtual])
      const addresses = own.map(({ address }) => address)
      const change = keepTable(socket, networkTable({ bridge: OVERLAY_BRIDGE, addresses, services }))
      forgetReplicas(
        socket,
        replicasGone(
          change,
          services.flatMap(({ kept }) => kept),
          before,
        ),
      )
      return !isKeptApart || changed || hasChanged(change)
    })
  })
}

/** Takes all of it away. */
export function clearVirtualNetwork(network: string): void {
  withOverlay(network, overlay => {
    if (overlay === undefined) return
    withNetfilter(overlay.namespace, socket => {
      removeTable(socket, meshTable)
      if (overlay.bridge !== undefined) keepAddresses(overlay.socket, overlay.bridge.index, [])
      removeTable(socket, neighbourTable)
    })
  })
}

function keepAddresses(socket: NetlinkSocket, index: number, wanted: readonly Prefix[]): boolean {
  const present = globalAddresses(socket, index)
  const stale = present.filter(one => !wanted.some(other => samePrefix(one, other)))
  const missing = wanted.filter(one => !present.some(other => samePrefix(one, other)))
  for (const prefix of stale) deleteAddress(socket, { index, prefix }, { missing: 'ignore' })
  for (const prefix of missing) addAddress(socket, { index, prefix, noDad: true })
  return stale.length + missing.length > 0
}

/** Takes addresses for the host out of the network's pool. @throws CniError code 7 where the network has no pool */
export async function takeAddresses(network: string, options: VirtualNetworkOptions): Promise<Prefix[]> {
  const answer = (await ipam(network, options, 'ADD')) as { ips?: { address: string }[] } | undefined
  return prefixesOf((answer?.ips ?? []).map(({ address }) => address))
}

/** Gives them back. @throws CniError */
export async function returnAddresses(network: string, options: VirtualNetworkOptions): Promise<void> {
  await ipam(network, options, 'DEL')
}

async function ipam(
  network: string,
  { mesh, socket, dataDirectory }: VirtualNetworkOptions,
  command: 'ADD' | 'DEL',
): Promise<unknown> {
  const held = readHeldBlocks(dataDirectory, network)
  if (held === undefined && command === 'DEL') return undefined
  if (held === undefined)
    throw new CniError(
      ErrorCode.invalidNetworkConfig,
      `network "${network}" has services with virtual addresses, but no pool that this host could take an address from`,
      'set "ipam": {"type": "cluster"} in its configuration',
    )
  return callPlugin({
    directory: mesh.pluginDirectory,
    type: 'cluster',
    command,
    containerId: LOAD_BALANCER,
    netns: namespacePath(overlayNamespaceName(network)),
    ifname: OVERLAY_BRIDGE,
    config: {
      cniVersion: '1.1.0',
      name: network,
      type: 'overlay',
      ipam: {
        type: 'cluster',
        pool: held.pool,
        ranges: held.rangeSets.map(set =>
          set.map(({ subnet, start, end, gateway, blockLength }) => ({
            subnet,
            rangeStart: start,
            rangeEnd: end,
            gateway,
            blockLength,
          })),
        ),
        coolDown: held.coolDownSeconds,
        dataDir: dataDirectory,
        socket,
      },
    },
  })
}

/** Whether a list of texts says the same addresses. */
export function sameAddresses(texts: readonly string[], prefixes: readonly Prefix[]): boolean {
  return texts.toSorted().join() === prefixes.map(formatPrefix).toSorted().join()
}
