/** Containers on bridges with the firewall plugin behind, as a runtime runs the chain. */

import { type Answer, type Attachment, type Host, hostLocal, Network, type NetworkNamespace } from '../harness/index.ts'

/** A network of the host by its number: bridge br1, subnets 10.88.1.0/24 and fd00:88:1::/64. */
export function bridgeNetwork(host: Host, number: number, config: object = {}): Network {
  return new Network(host, {
    name: `net${number}`,
    bridge: `br${number}`,
    ipam: hostLocal(host, `10.88.${number}.0/24`, `fd00:88:${number}::/64`),
    ...config,
  })
}

/** A container with its attachments to the bridge and to the firewall. */
export interface Guarded {
  readonly container: NetworkNamespace
  readonly bridge: Attachment
  readonly firewall: Attachment
}

/** The firewall plugin's part in the bridge's network. */
export function firewallOf(bridge: Attachment, config: object = {}, container = bridge.container): Attachment {
  const { host, config: network } = bridge.network
  const { cniVersion, name } = network
  return new Network(host, {
    cniVersion,
    name,
    type: 'firewall',
    bridge: undefined,
    ipam: undefined,
    ...config,
  }).attachment({
    containerId: bridge.containerId,
    container,
    ifname: bridge.ifname,
    config: { prevResult: bridge.result },
  })
}

/** A container attached to the bridge, and then to the firewall. */
export function guard(network: Network, config: object = {}): Guarded {
  const bridge = network.attach()
  const firewall = firewallOf(bridge, config)
  firewall.add()
  return { container: bridge.container, bridge, firewall }
}

/** DEL in the order of a runtime: the last of the chain first. */
export function unguard({ bridge, firewall }: Guarded): void {
  firewall.del()
  bridge.del()
}

/** The warnings of an answer. */
export const warningsOf = ({ stderr }: Answer): string[] => stderr.split('\n').filter(Boolean)
