/** Draws a host of the demo with its overlay networks, from what the kernel says. */

import type { ClusterHost, NetworkNamespace } from '../../test/harness/index.ts'
import { addresses, type Branch, drawTree, type Link } from '../demo/picture.ts'
import type { Container } from './containers.ts'

interface OverlayLink extends Link {
  readonly ifalias?: string
  readonly linkinfo?: {
    readonly info_kind?: string
    readonly info_data?: { readonly id?: number; readonly port?: number; readonly local?: string }
  }
}

/** A namespace that may be at the other end of a link. */
export interface Place {
  readonly containerId: string
  readonly label: string
  readonly namespace: NetworkNamespace
}

/** Ports of a bridge, each with the container at its other end. */
function ports(links: readonly OverlayLink[], bridge: string, places: readonly Place[]): Branch[] {
  return links
    .filter(({ master }) => master === bridge)
    .map(port => {
      const { info_kind: kind, info_data: data } = port.linkinfo ?? {}
      if (kind === 'vxlan')
        return { text: `${port.ifname}  VNI ${data?.id}, from ${data?.local} to UDP ${data?.port} of the other hosts` }
      return { text: `${port.ifname} ─── ${otherEnd(port, places)}` }
    })
}

/** By the alias, "cnikit <network> <container> <interface>", and the index, which is the container's own. */
function otherEnd({ ifalias = '', link_index }: OverlayLink, places: readonly Place[]): string {
  const [, , container] = ifalias.split(' ')
  const place = places.find(({ containerId }) => containerId === container)
  const end = place?.namespace.show<Link[]>('addr').find(({ ifindex }) => ifindex === link_index)
  if (place === undefined || end === undefined) throw new Error(`nobody is at the other end of a link "${ifalias}"`)
  return `${end.ifname} of ${place.label}  ${addresses(end)}`
}

/** The host, its overlay networks, the bridge of the way out, and who is attached to them. */
export function drawHost(host: ClusterHost, containers: readonly Container[]): string {
  const names = host.namedNamespaces()
  const places: Place[] = containers
    .filter(container => container.host === host)
    .map(({ name, namespace }) => ({ containerId: name, label: name, namespace }))
  for (const name of names.filter(one => !one.startsWith('overlay-')))
    places.push({ containerId: name, label: 'the load balancer', namespace: host.named(name) })
  const networks = names
    .filter(name => name.startsWith('overlay-'))
    .map((name): Branch => {
      const links = host.named(name).show<OverlayLink[]>('addr')
      return { text: `network ${name.slice('overlay-'.length)}`, branches: ports(links, 'br0', places) }
    })
  const links = host.show<OverlayLink[]>('addr')
  const bridges = links
    .filter(({ linkinfo }) => linkinfo?.info_kind === 'bridge')
    .map(
      (bridge): Branch => ({
        text: `${bridge.ifname}  ${addresses(bridge)}`,
        branches: ports(links, bridge.ifname, places),
      }),
    )
  return drawTree({ text: `host${host.number}  ${host.underlay.ipv4}`, branches: [...networks, ...bridges] })
}
