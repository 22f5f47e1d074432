/** The hosts at the other ends of a network's tunnels: known from whatever names them, and asked. */

import { formatAddress, parseAddress } from '../../lib/address/address.ts'
import { compareRows, hostOfRow, macOfRow, type Row, splitKey } from '../../lib/overlay/forwarding-tables.ts'
import { tunnelOverhead } from '../../lib/overlay/underlay.ts'
import type { Finding } from './finding.ts'
import type { LocalNetwork, LocalTunnel } from './local-network.ts'
import { type ProbeResult, type ProbeTarget, probeTunnels } from './tunnel-probe.ts'
import type { WantedNetwork } from './wanted-network.ts'

/** Entries that lead to a host: what says so of containers' addresses and MACs. */
export interface PeerEntries {
  readonly present: number
  /** Undefined where they are learned. */
  readonly wanted: number | undefined
  readonly missing: readonly string[]
  readonly tooMuch: readonly string[]
}

export interface Peer extends ProbeResult {
  /** Tunnel address. */
  readonly address: string
  readonly node: string | undefined
  /** Whether agent or configuration name it; undefined when they cannot be asked. */
  readonly wanted: boolean | undefined
  /** Whether broadcasts go to it, and its packets are taken. */
  readonly flooded: boolean
  readonly admitted: boolean
  /** Bytes of the IP packets around the largest of the tunnel's. */
  readonly needed: number
  readonly entries: PeerEntries
}

const notAsked: ProbeResult = { state: 'not asked', reason: 'told not to' }

/** @param probe whether they are asked */
export async function peersOfNetwork(
  { tunnel }: LocalNetwork,
  wanted: WantedNetwork | undefined,
  { probe, signal }: { readonly probe: boolean; readonly signal: AbortSignal },
): Promise<Peer[]> {
  if (tunnel === undefined) return []
  const [flooded, admitted] = [tunnel.flooded, tunnel.admitted ?? []].map(list => new Set(list.map(formatAddress)))
  const [present, named] = [entriesByHost(tunnel.rows), wanted?.rows && entriesByHost(wanted.rows)]
  const addresses = new Set([
    ...(wanted?.hosts?.keys() ?? []),
    ...(flooded ?? []),
    ...(admitted ?? []),
    ...present.keys(),
  ])
  const peers = [...addresses].sort()
  const overhead = tunnel.local === undefined ? 0 : tunnelOverhead(tunnel.local)
  const results = probe ? await askPeers(tunnel, peers, tunnel.mtu + overhead, signal) : new Map<string, ProbeResult>()
  return peers.map(address => ({
    address,
    node: wanted?.hosts?.get(address),
    wanted: wanted?.hosts?.has(address),
    flooded: flooded?.has(address) ?? false,
    admitted: tunnel.admitted === undefined || (admitted?.has(address) ?? false),
    needed: tunnel.mtu + overhead,
    entries: compareEntries(present.get(address) ?? new Map(), named && (named.get(address) ?? new Map())),
    ...(results.get(address) ?? notAsked),
  }))
}

/** By address. */
async function askPeers(
  { local, port }: LocalTunnel,
  peers: readonly string[],
  needed: number,
  signal: AbortSignal,
): Promise<Map<string, ProbeResult>> {
  const targets = peers.flatMap((text): ProbeTarget[] => {
    const peer = parseAddress(text)
    return local === undefined || peer === undefined ? [] : [{ local, peer, port, needed }]
  })
  const results = await probeTunnels(targets, signal)
  return new Map(results.map(({ target, ...result }) => [formatAddress(target.peer), result]))
}

/** Rows by the host that their MAC is behind. */
function entriesByHost(rows: ReadonlyMap<string, string>): Map<string, Map<string, string>> {
  const hostOf = new Map<string, string>()
  for (const [key, content] of rows) {
    const { table, address } = splitKey(key)
    if (table === 'tunnel') hostOf.set(address, hostOfRow({ key, content }))
  }
  const byHost = new Map<string, Map<string, string>>()
  for (const [key, content] of rows) {
    const host = hostOf.get(macOfRow({ key, content }))
    if (host === undefined) continue
    const own = byHost.get(host) ?? new Map<string, string>()
    byHost.set(host, own.set(key, content))
  }
  return byHost
}

function compareEntries(
  present: ReadonlyMap<string, string>,
  wanted: ReadonlyMap<string, string> | undefined,
): PeerEntries {
  const changes = wanted && compareRows(present, wanted)
  const texts = (rows: readonly Row[] = []) => rows.map(({ key, content }) => `${key} ${content}`.trim())
  return {
    present: present.size,
    wanted: wanted?.size,
    missing: texts(changes?.written),
    tooMuch: texts(changes?.removed),
  }
}

/** What is wrong on the way to them. */
export function peerFindings({ network, tunnel }: LocalNetwork, peers: readonly Peer[]): Finding[] {
  return peers.flatMap((peer): Finding[] => {
    const { address, node, state, reason, pathMtu, needed } = peer
    const name = node === undefined ? address : `${address} (${node})`
    if (state === 'unreachable')
      return [
        {
          gravity: 'error',
          network,
          what: `peer ${name} is unreachable: ${reason}`,
          remedy: `ip route get ${address}`,
        },
      ]
    if (state === 'silent')
      return [
        {
          gravity: 'error',
          network,
          what: `peer ${name} does not answer: the host or the network is down, or a firewall drops ICMP`,
          remedy: `ping -I ${textOf(tunnel)} ${address}; on the peer "tcpdump -ni any host ${textOf(tunnel)}"`,
        },
      ]
    if (state === 'not asked' && reason !== notAsked.reason)
      return [
        {
          gravity: 'warning',
          network,
          what: `peer ${name} could not be asked: ${reason}`,
          remedy: 'run cnictl as root',
        },
      ]
    const findings: Finding[] = []
    if (state === 'refuses' && tunnel?.controlPlane === 'etcd')
      findings.push({
        gravity: 'error',
        network,
        what: `peer ${name} has containers of the network, but no tunnel at UDP port ${tunnel.port}`,
        remedy: 'cnictl overlay check (on the peer)',
      })
    if (pathMtu !== undefined && pathMtu < needed)
      findings.push({
        gravity: 'error',
        network,
        what: `packets of ${needed} bytes do not get to peer ${name}, the way carries ${pathMtu}`,
        remedy: `set "mtu" of the network to ${pathMtu - (needed - (tunnel?.mtu ?? 0))} on all hosts, or raise the underlay's to ${needed}`,
      })
    return findings
  })
}

const textOf = (tunnel: LocalTunnel | undefined): string =>
  tunnel?.local === undefined ? 'the tunnel address' : formatAddress(tunnel.local)
