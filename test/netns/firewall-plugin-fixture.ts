/** Containers on bridges with the firewall plugin behind, as a runtime runs the chain. */

import {
  type Attachment,
  type AttachmentOptions,
  type Host,
  hostLocal,
  Network,
  type NetworkNamespace,
} from '../harness/index.ts'

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

/** What the firewall's attachment has other than the bridge's. */
type FirewallOptions = Pick<AttachmentOptions, 'container' | 'environment'>

/** The firewall plugin's part in the bridge's network. */
export function firewallOf(bridge: Attachment, config: object = {}, options: FirewallOptions = {}): Attachment {
  const { cniVersion, name } = bridge.network.config
  const keys = { cniVersion, name, type: 'firewall', bridge: undefined, ipam: undefined, ...config }
  return new Network(bridge.network.host, keys).attachment({
    containerId: bridge.containerId,
    container: bridge.container,
    ifname: bridge.ifname,
    config: { prevResult: bridge.result },
    ...options,
  })
}

/** A container attached to the bridge, and then to the firewall. */
export function guard(network: Network, config: object = {}, options: FirewallOptions = {}): Guarded {
  const bridge = network.attach()
  const firewall = firewallOf(bridge, config, options)
  firewall.add()
  return { container: bridge.container, bridge, firewall }
}

/** Whether the one reaches the other, in both families or in none. */
export function reaches(from: Guarded, to: Guarded): boolean {
  const answers = to.bridge.addresses.map(address => from.container.pings(address))
  if (new Set(answers).size > 1) throw new Error(`IPv4 and IPv6 differ: ${answers}`)
  return answers[0] === true
}

/** DEL in the order of a runtime: the last of the chain first. */
export function unguard({ bridge, firewall }: Guarded): void {
  firewall.del()
  bridge.del()
}
