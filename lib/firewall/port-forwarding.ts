/**
 * Port forwarding: ports of the host's lead to attachments.
 * Everything here works on the network namespace of the calling thread, which must be the host's.
 */

import type { IpAddress } from '../address/address.ts'
import { isUnspecified } from '../address/address.ts'
import { runAll } from '../cni/best-effort.ts'
import { getLink } from '../netlink/route/link/index.ts'
import { getRoute } from '../netlink/route/route/index.ts'
import { NetlinkProtocol, NetlinkSocket } from '../netlink/socket.ts'
import { readSysctlIfExists, writeSysctlIfExists } from '../netns/sysctl.ts'
import type { Attachment } from './attachment.ts'
import { iptablesPortForwarding } from './iptables/port-forwarding.ts'
import { nftablesPortForwarding } from './nftables/port-forwarding.ts'
import { type ForwardedPorts, forgetOthers } from './port-forwarding-connections.ts'
import type {
  KnownForwarding,
  PortForwarding,
  PortForwardingBackend,
  PortForwardingCarrier,
  PortForwardingOptions,
} from './port-forwarding-intent.ts'

export type {
  KnownForwarding,
  PortForwarding,
  PortForwardingBackend,
  PortForwardingCarrier,
  PortForwardingOptions,
  PortMapping,
} from './port-forwarding-intent.ts'

const carriers: Readonly<Record<PortForwardingBackend, PortForwardingCarrier>> = {
  nftables: nftablesPortForwarding,
  iptables: iptablesPortForwarding,
}

/**
 * Forwards the ports. Repeating it changes nothing.
 * @returns whether anything was added, which a failing ADD then has to delete
 * @throws CniError code 104 naming who has a port; nothing is changed then. NetlinkError
 */
export function addPortForwarding(
  backend: PortForwardingBackend,
  attachment: Attachment,
  forwarding: PortForwarding,
  options: PortForwardingOptions,
): boolean {
  return carriers[backend].add(attachment, forwarding, options)
}

/** Removes what the attachment has, whichever back end made it. Nothing there is fine. */
export function deletePortForwarding(
  attachment: Attachment,
  known: KnownForwarding,
  options: PortForwardingOptions,
): void {
  runAll(Object.values(carriers).map(carrier => () => carrier.delete(attachment, known, options)))
}

/** @throws CniError code 105 naming what is missing */
export function checkPortForwarding(
  backend: PortForwardingBackend,
  attachment: Attachment,
  forwarding: PortForwarding,
  options: PortForwardingOptions,
): void {
  carriers[backend].check(attachment, forwarding, options)
}

/** Removes what attachments of the network that are not listed have. */
export function gcPortForwarding(
  network: string,
  valid: readonly Pick<Attachment, 'containerId' | 'ifname'>[],
  options: PortForwardingOptions,
): void {
  runAll(Object.values(carriers).map(carrier => () => carrier.gc(network, valid, options)))
}

/** Whether the back end can work here. @throws CniError saying what it lacks */
export function portForwardingStatus(backend: PortForwardingBackend, options: PortForwardingOptions): void {
  carriers[backend].status(options)
}

/**
 * Lets the host reach the ports by 127.0.0.1: route_localnet on the interface through which the container is reached.
 * Containers behind it could then send to what listens on 127.0.0.1 alone, if the nftables back end did not drop that.
 */
export function enableLocalhost({ snat, addresses }: PortForwarding): void {
  const container = addresses.find(({ address }) => address.length === 4)
  if (!snat || container === undefined) return
  const name = interfaceTowards(container.address)
  if (name === undefined) return
  const sysctl = `net/ipv4/conf/${name}/route_localnet`
  if (readSysctlIfExists(sysctl) !== '1') writeSysctlIfExists(sysctl, '1')
}

function interfaceTowards(address: IpAddress): string | undefined {
  const route = new NetlinkSocket(NetlinkProtocol.route)
  try {
    const index = getRoute(route, { destination: address })?.index
    return index === undefined ? undefined : getLink(route, { index })?.name
  } finally {
    route.close()
  }
}

/** Forgets UDP connections to the ports that lead elsewhere: their clients reach the container with the next packet. */
export function forgetOtherConnections({ mappings, addresses }: PortForwarding): void {
  const ports: ForwardedPorts[] = addresses.flatMap(({ address: container }) =>
    mappings
      .filter(({ transport, hostAddress }) => transport === 'udp' && reaches(hostAddress, container))
      .map(({ transport, hostPort, hostAddress }) => ({
        transport,
        first: hostPort,
        last: hostPort,
        hostAddress: hostAddress === undefined || isUnspecified(hostAddress) ? undefined : hostAddress,
        container,
      })),
  )
  if (ports.length === 0) return
  const route = new NetlinkSocket(NetlinkProtocol.route)
  const netfilter = new NetlinkSocket(NetlinkProtocol.netfilter)
  try {
    forgetOthers(netfilter, ports, destination => getRoute(route, { destination })?.type === 'local')
  } finally {
    netfilter.close()
    route.close()
  }
}

const reaches = (hostAddress: IpAddress | undefined, container: IpAddress): boolean =>
  hostAddress === undefined || hostAddress.length === container.length
