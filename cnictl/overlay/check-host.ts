/** What of a host, and not of a network, stands in the way of tunnels, of the way out, of services. */

import { formatAddress, type IpAddress } from '../../lib/address/address.ts'
import { CniError } from '../../lib/cni/errors.ts'
import { droppingChains } from '../../lib/firewall/nftables/dropping-chains.ts'
import { openNftables } from '../../lib/firewall/nftables/socket.ts'
import { listLinks } from '../../lib/netlink/route/link/index.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import { readSysctlIfExists } from '../../lib/netns/index.ts'
import { callAgent } from '../../lib/overlay/agent-client.ts'
import { SPOOL_DIRECTORY } from '../../lib/overlay/agent-protocol.ts'
import { GATEWAY_BRIDGE_ALIAS, gatewayAddresses } from '../../lib/overlay/gateway-bridge.ts'
import { strangersDropped } from '../../lib/overlay/peers.ts'
import { linkOfLocal, tunnelOverhead } from '../../lib/overlay/underlay.ts'
import { listDirectory, readLink } from '../../lib/sys/file.ts'
import type { Finding } from './finding.ts'
import type { LocalNetwork } from './local-network.ts'
import { isAgentAway } from './wanted-network.ts'

/** The agent, where a network needs it. @param error why it was not heard */
export function checkAgent(socket: string, error: CniError | undefined, isNeeded: boolean): Finding[] {
  const findings: Finding[] = []
  const waiting = (listDirectory(SPOOL_DIRECTORY) ?? []).filter(name => name.endsWith('.json')).length
  if (waiting > 0)
    findings.push({
      gravity: 'warning',
      what: `${waiting} releases of containers wait for the agent in ${SPOOL_DIRECTORY}`,
      remedy: 'systemctl start overlayd; it takes them when etcd is there',
    })
  const failure = error ?? statusFailure(socket)
  if (failure === undefined || (isAgentAway(failure) && !isNeeded)) return findings
  return [{ gravity: 'error', what: failure.message, remedy: failure.details ?? 'journalctl -u overlayd' }, ...findings]
}

function statusFailure(socket: string): CniError | undefined {
  try {
    callAgent(socket, 'status', {})
    return undefined
  } catch (error) {
    if (error instanceof CniError) return error
    throw error
  }
}

/** The link beneath a network's tunnel: whether it is there, and carries the tunnel's packets. */
export function checkUnderlay(host: NetlinkSocket, { network, tunnel }: LocalNetwork): Finding[] {
  if (tunnel?.local === undefined) return []
  const { local, mtu } = tunnel
  let link: ReturnType<typeof linkOfLocal>
  try {
    link = linkOfLocal(host, local)
  } catch (error) {
    if (!(error instanceof CniError)) throw error
    const remedy = `ip address add ${formatAddress(local)}/... dev ...; or delete the network's containers and change it`
    return [{ gravity: 'error', network, what: error.message, remedy }]
  }
  const findings: Finding[] = []
  const needed = mtu + tunnelOverhead(local)
  if (!link.up)
    findings.push({ gravity: 'error', network, what: `"${link.name}" is down`, remedy: `ip link set ${link.name} up` })
  if (!link.loopback && link.mtu < needed)
    findings.push({
      gravity: 'error',
      network,
      what: `the tunnel's packets have up to ${needed} bytes, and "${link.name}" carries ${link.mtu}`,
      remedy: `ip link set ${link.name} mtu ${needed}; or set "mtu" of the network to ${link.mtu - tunnelOverhead(local)}`,
    })
  return findings
}

/** Network cards that are known to spoil the checksums of what is in tunnels. */
const spoilers: readonly string[] = ['vmxnet3']

/** Whether a tunnel goes through a card that is known for its offloading. */
export function checkOffload(host: NetlinkSocket, locals: readonly IpAddress[]): Finding[] {
  const names = new Set<string>()
  for (const local of locals) {
    try {
      names.add(linkOfLocal(host, local).name)
    } catch (error) {
      // Told by checkUnderlay.
      if (!(error instanceof CniError)) throw error
    }
  }
  return [...names].flatMap((name): Finding[] => {
    const driver = readLink(`/sys/class/net/${name}/device/driver`)?.split('/').at(-1) ?? ''
    if (!spoilers.includes(driver)) return []
    return [
      {
        gravity: 'hint',
        what: `"${name}" is of the kind ${driver}, of which some versions spoil checksums in tunnels: pings pass then, TCP does not`,
        remedy: `ethtool -K ${name} tx-checksum-ip-generic off`,
      },
    ]
  })
}

/** The way out, and what other programs' firewalls do to it and to tunnels. */
export function checkFirewall(host: NetlinkSocket, ports: readonly number[]): Finding[] {
  const socket = openNftables()
  if (socket === undefined) return []
  try {
    const bridges = listLinks(host, { kind: 'bridge' }).filter(({ alias }) => alias === GATEWAY_BRIDGE_ALIAS)
    return [
      ...bridges.flatMap(({ name }) => droppedForwarding(socket, name)),
      ...bridges.flatMap(bridge => forwardingOff(gatewayAddresses(host, bridge).map(({ address }) => address))),
      ...(ports.length === 0 ? [] : droppedTunnels(socket, ports)),
      ...strangers(ports),
    ]
  } finally {
    socket.close()
  }
}

function droppedForwarding(socket: NetlinkSocket, bridge: string): Finding[] {
  return droppingChains(socket, 'forward').map(chain => ({
    gravity: 'warning',
    what: `chain "${chain}" drops what is forwarded unless one of its rules lets it pass: the containers' way out, published ports`,
    remedy: `nft insert rule ${chain} iifname ${bridge} accept; nft insert rule ${chain} oifname ${bridge} accept`,
  }))
}

function droppedTunnels(socket: NetlinkSocket, ports: readonly number[]): Finding[] {
  return droppingChains(socket, 'input').map(chain => ({
    gravity: 'warning',
    what: `chain "${chain}" drops what comes in unless one of its rules lets it pass: the tunnels' packets too`,
    remedy: `nft insert rule ${chain} udp dport ${ports.length === 1 ? ports[0] : `{ ${ports.join(', ')} }`} accept`,
  }))
}

const forwarding = { 4: 'net/ipv4/ip_forward', 16: 'net/ipv6/conf/all/forwarding' } as const

function forwardingOff(gateways: readonly IpAddress[]): Finding[] {
  return ([4, 16] as const).flatMap((length): Finding[] => {
    const name = forwarding[length]
    const isNeeded = gateways.some(gateway => gateway.length === length)
    if (!isNeeded || readSysctlIfExists(name) !== '0') return []
    const sysctl = name.replaceAll('/', '.')
    return [
      {
        gravity: 'error',
        what: `this host does not forward: ${sysctl} is 0, and containers have no way out`,
        remedy: `sysctl -w ${sysctl}=1`,
      },
    ]
  })
}

function strangers(ports: readonly number[]): Finding[] {
  const dropped = strangersDropped()
  if (dropped === 0n) return []
  return [
    {
      gravity: 'warning',
      what: `${dropped} packets were dropped since they came from hosts that are no peers of their network`,
      remedy: `tcpdump -ni any udp port ${ports.join(' or udp port ')} shows who sends them: a peer that is missing in a list, or a stranger`,
    },
  ]
}
