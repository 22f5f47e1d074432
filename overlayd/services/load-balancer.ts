/**
 * The load balancer of this host: a network namespace that is attached to the ingress network, and to the gateway bridge,
 * as any container is, by the plugin `overlay`. What it is like is read from the kernel, so that a restart of the agent
 * finds it as it was left.
 */

import type { IpAddress } from '../../lib/address/address.ts'
import type { MacAddress } from '../../lib/address/mac.ts'
import { formatPrefix, type Prefix } from '../../lib/address/prefix.ts'
import { hostVethName } from '../../lib/cni/names.ts'
import { listAddresses } from '../../lib/netlink/route/addr/index.ts'
import { getLink, listLinks, setLink } from '../../lib/netlink/route/link/index.ts'
import { listRoutes } from '../../lib/netlink/route/route/index.ts'
import { NetlinkProtocol, NetlinkSocket } from '../../lib/netlink/socket.ts'
import { createNamespace, deleteNamespace, namespacePath, openNamespaceIfExists } from '../../lib/netns/index.ts'
import { LOAD_BALANCER } from '../../lib/overlay/names.ts'
import { callPlugin } from './plugin-call.ts'
import type { MeshSettings } from './settings.ts'

/** Its interface in the ingress network. */
export const INNER = 'eth0'
/** RT_SCOPE_UNIVERSE */
const GLOBAL_SCOPE = 0

/** The load balancer as it is. */
export interface LoadBalancer {
  /** Path of its namespace. */
  readonly path: string
  /** Of its interface in the ingress network. */
  readonly mac: MacAddress
  readonly inner: readonly Prefix[]
  /** Its interface on the gateway bridge. */
  readonly outer: string
  readonly outerAddresses: readonly IpAddress[]
  /** Of its default routes: the host's own addresses on the gateway bridge. */
  readonly gateways: readonly IpAddress[]
}

export interface LoadBalancerOptions {
  readonly mesh: MeshSettings
  /** Where the agent listens for plugins. */
  readonly socket: string
  /** Where cluster IPAM keeps its files; the plugin's default when absent. */
  readonly dataDirectory?: string
}

/** Undefined unless it is complete. */
export function findLoadBalancer(): LoadBalancer | undefined {
  const path = namespacePath(LOAD_BALANCER)
  const namespace = openNamespaceIfExists(path)
  if (namespace === undefined) return undefined
  const socket = namespace.openSocket(NetlinkProtocol.route)
  try {
    const addresses = listAddresses(socket).filter(({ scope }) => scope === GLOBAL_SCOPE)
    const of = (name: string): Prefix[] => {
      const index = getLink(socket, { name })?.index
      return addresses.filter(address => address.index === index).map(({ prefix }) => prefix)
    }
    const mac = getLink(socket, { name: INNER })?.mac
    const outer = listLinks(socket, { kind: 'veth' }).find(({ name }) => name !== INNER)?.name
    const inner = of(INNER)
    if (mac === undefined || outer === undefined || inner.length === 0) return undefined
    return {
      path,
      mac,
      inner,
      outer,
      outerAddresses: of(outer).map(({ address }) => address),
      gateways: gatewaysOf(socket),
    }
  } finally {
    socket.close()
    namespace.close()
  }
}

function gatewaysOf(socket: NetlinkSocket): IpAddress[] {
  return listRoutes(socket)
    .filter(({ destination }) => destination.length === 0)
    .map(({ gateway }) => gateway)
    .filter(gateway => gateway !== undefined)
}

/** Makes it, or makes it anew where parts are missing. @throws CniError */
export async function createLoadBalancer(options: LoadBalancerOptions): Promise<LoadBalancer | undefined> {
  const path = namespacePath(LOAD_BALANCER)
  await plugin(options, 'DEL')
  const present = openNamespaceIfExists(path)
  if (present === undefined) {
    // The file of a namespace that is gone, perhaps.
    deleteNamespace(LOAD_BALANCER)
    createNamespace(LOAD_BALANCER)
  } else present.close()
  await plugin(options, 'ADD')
  return findLoadBalancer()
}

/** Takes it away. @throws CniError */
export async function removeLoadBalancer(options: LoadBalancerOptions): Promise<void> {
  await plugin(options, 'DEL')
  deleteNamespace(LOAD_BALANCER)
}

/** Its port in the overlay namespace of the ingress network. */
export function innerPort({ network }: MeshSettings): string {
  return hostVethName(network, LOAD_BALANCER, INNER)
}

/** Lets its port on the gateway bridge reach the others: see lib/overlay/mesh/ingress-table.ts. */
export function openOuterPort({ gatewayBridge }: MeshSettings): void {
  const socket = new NetlinkSocket(NetlinkProtocol.route)
  try {
    const port = getLink(socket, { name: hostVethName(gatewayBridge, LOAD_BALANCER, INNER) })
    if (port?.bridgePort?.isolated) setLink(socket, { index: port.index, bridgePort: { isolated: false } })
  } finally {
    socket.close()
  }
}

function plugin({ mesh, socket, dataDirectory }: LoadBalancerOptions, command: 'ADD' | 'DEL'): Promise<unknown> {
  return callPlugin({
    directory: mesh.pluginDirectory,
    type: 'overlay',
    command,
    containerId: LOAD_BALANCER,
    netns: namespacePath(LOAD_BALANCER),
    ifname: INNER,
    config: {
      cniVersion: '1.1.0',
      name: mesh.network,
      type: 'overlay',
      controlPlane: { type: 'etcd', socket },
      gatewayBridge: { name: mesh.gatewayBridge },
      ipam: {
        type: 'cluster',
        ranges: mesh.subnets.map(subnet => [{ subnet: formatPrefix(subnet) }]),
        socket,
        ...(dataDirectory === undefined ? {} : { dataDir: dataDirectory }),
      },
    },
  })
}
