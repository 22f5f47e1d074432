/** A network as the kernel has it against the network as it is wanted. */

import { formatAddress, type IpAddress } from '../../lib/address/address.ts'
import { compareRows } from '../../lib/overlay/forwarding-tables.ts'
import { OVERLAY_BRIDGE, OVERLAY_VXLAN } from '../../lib/overlay/names.ts'
import { type Finding, shortList } from './finding.ts'
import type { LocalNetwork, LocalTunnel } from './local-network.ts'
import type { WantedNetwork } from './wanted-network.ts'

const ADD_MENDS = 'the next ADD of the network on this host mends it: create a container in it'
const AGENT_MENDS = 'systemctl restart overlayd'

/**
 * What differs.
 * @param wanted undefined when neither agent nor configuration knows the network
 * @param isAgentHeard whether it could have been known
 */
export function compareNetwork(
  present: LocalNetwork,
  wanted: WantedNetwork | undefined,
  isAgentHeard: boolean,
): Finding[] {
  const { network, namespace, bridge, tunnel, attachments } = present
  const findings: Finding[] = []
  const found = (gravity: Finding['gravity'], what: string, remedy: string): void => {
    findings.push({ gravity, network, what, remedy })
  }
  if (bridge === undefined) found('error', `namespace "${namespace}" has no bridge "${OVERLAY_BRIDGE}"`, ADD_MENDS)
  else if (!bridge.up)
    found('error', `bridge "${OVERLAY_BRIDGE}" is down`, `ip -n ${namespace} link set ${OVERLAY_BRIDGE} up`)
  if (tunnel === undefined) {
    found('error', `namespace "${namespace}" has no VXLAN device "${OVERLAY_VXLAN}"`, ADD_MENDS)
    return findings
  }
  const device = `ip -n ${namespace} link set ${OVERLAY_VXLAN}`
  if (!tunnel.up) found('error', `VXLAN device "${OVERLAY_VXLAN}" is down`, `${device} up`)
  if (bridge !== undefined && !tunnel.attached)
    found('error', `"${OVERLAY_VXLAN}" is no port of "${OVERLAY_BRIDGE}"`, `${device} master ${OVERLAY_BRIDGE}`)
  if (attachments.length === 0)
    found(
      'warning',
      'it is on this host, but no container of the host is in it',
      `cnictl gc ${network} --attachments-from-cache`,
    )
  const differences =
    wanted === undefined ? unknown(network, tunnel, isAgentHeard) : compareTunnel(network, tunnel, wanted)
  return [...findings, ...differences]
}

function compareTunnel(network: string, tunnel: LocalTunnel, wanted: WantedNetwork): Finding[] {
  const { vni, port, hosts, rows, controlPlane } = wanted
  const remedy = controlPlane === 'etcd' ? AGENT_MENDS : ADD_MENDS
  const findings: Finding[] = []
  if (tunnel.vni !== vni || tunnel.port !== port) {
    findings.push({
      gravity: 'error',
      network,
      what: `it runs with VNI ${tunnel.vni} on port ${tunnel.port}, but is to have VNI ${vni} on port ${port}`,
      remedy: 'delete its containers on this host and create them again',
    })
  }
  if (hosts !== undefined) {
    findings.push(...comparePeers(network, tunnel, [...hosts.keys()], remedy))
  }
  if (rows !== undefined) {
    const { written, removed } = compareRows(tunnel.rows, rows)
    const texts = (list: typeof written) => shortList(list.map(({ key, content }) => `${key} ${content}`.trim()))
    if (written.length > 0)
      findings.push({
        gravity: 'error',
        network,
        what: `${written.length} entries for containers on other hosts are missing or others: ${texts(written)}`,
        remedy,
      })
    if (removed.length > 0)
      findings.push({
        gravity: 'warning',
        network,
        what: `${removed.length} entries lead to containers that etcd does not have: ${texts(removed)}`,
        remedy,
      })
  }
  return findings
}

function comparePeers(network: string, tunnel: LocalTunnel, hosts: readonly string[], remedy: string): Finding[] {
  const findings: Finding[] = []
  const compare = (present: readonly IpAddress[], missing: string, tooMuch: string): void => {
    const texts = present.map(formatAddress)
    const lost = hosts.filter(host => !texts.includes(host))
    const strange = texts.filter(text => !hosts.includes(text))
    if (lost.length > 0) findings.push({ gravity: 'error', network, what: `${missing} ${shortList(lost)}`, remedy })
    if (strange.length > 0)
      findings.push({ gravity: 'warning', network, what: `${tooMuch} ${shortList(strange)}`, remedy })
  }
  if (tunnel.admitted === undefined)
    findings.push({
      gravity: 'error',
      network,
      what: 'packets of any host are taken: the peer filter is gone, "nft flush ruleset" or a reload perhaps',
      remedy,
    })
  else compare(tunnel.admitted, 'packets are dropped of', 'packets are taken of hosts that are no peers:')
  if (tunnel.controlPlane !== 'multicast')
    compare(tunnel.flooded, 'broadcasts do not go to', 'broadcasts go to hosts that are no peers:')
  return findings
}

/** What of the kernel's own tables does not fit together. */
function unknown(network: string, tunnel: LocalTunnel, isAgentHeard: boolean): Finding[] {
  if (tunnel.controlPlane === 'etcd') {
    const what = isAgentHeard
      ? 'the agent does not know it, so that nobody keeps its tables'
      : 'its tables were not compared, since the agent was not heard'
    const remedy = isAgentHeard ? AGENT_MENDS : 'systemctl start overlayd; journalctl -u overlayd says what hindered it'
    return [{ gravity: 'warning', network, what, remedy }]
  }
  const heard = tunnel.admitted?.map(formatAddress) ?? []
  const told = tunnel.flooded.map(formatAddress)
  const oneWay = [...heard, ...told].filter(peer => heard.includes(peer) !== told.includes(peer))
  if (tunnel.controlPlane === 'multicast' || oneWay.length === 0) return []
  return [
    {
      gravity: 'error',
      network,
      what: `packets pass in one direction only with ${shortList(oneWay)}: peer filter and flood list differ`,
      remedy: ADD_MENDS,
    },
  ]
}
