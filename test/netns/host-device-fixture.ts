/** A host with an interface to give away: a veth plays the card, its other end the network that the card is plugged into. */

import { deleteNamespaces, type Host, Network, type NetworkNamespace } from '../harness/index.ts'

export const mac = '52:54:00:00:00:07'

/** "nic0" with all that can be lost on the way, plugged into "outside", which has 10.88.0.1 and fd00:88::1. */
export function withCard(host: Host): NetworkNamespace {
  const outside = host.createNamespace('outside')
  host.ip(`link add nic0 address ${mac} type veth peer name port netns ${outside.name}
link set nic0 mtu 1400 alias "the operator's own words"
link set nic0 up`)
  outside.ip(`link set lo up
addr add 10.88.0.1/24 dev port
addr add fd00:88::1/64 dev port nodad
addr add 192.0.2.1/32 dev lo
link set port up`)
  return outside
}

export const addresses = [
  { address: '10.88.0.5/24', gateway: '10.88.0.1' },
  { address: 'fd00:88::5/64', gateway: 'fd00:88::1' },
]

export function cardNetwork(host: Host, config: object = {}): Network {
  return new Network(host, {
    type: 'host-device',
    device: 'nic0',
    ipam: { type: 'static', addresses, routes: [{ dst: '0.0.0.0/0' }] },
    ...config,
  })
}

/** What is to be the same before and after: everything that a link has of its own. */
export function cardOf(host: NetworkNamespace, name = 'nic0'): object | undefined {
  const link = host.show('link').find(({ ifname }) => ifname === name)
  if (link === undefined) return undefined
  const { address, mtu, ifalias, flags } = link
  return { address, mtu, ifalias, isUp: (flags as string[]).includes('UP') }
}

/** What a card does when its namespace dies, and what nothing but a card does: it goes home under the name that it has. */
export function killNamespace(host: Host, container: NetworkNamespace, name: string, nameOnHost = name): void {
  container.ip(`link set ${name} down`)
  container.ip(`link set ${name} name ${nameOnHost}`)
  container.ip(`link set ${nameOnHost} netns ${host.name}`)
  deleteNamespaces([container.name])
}
