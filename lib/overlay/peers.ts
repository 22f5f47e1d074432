/**
 * The peer filter: whose tunnel packets this host takes for a network. Everything here works on the network namespace of
 * the calling thread, which must be the host's.
 */

import { equalAddresses, formatAddress, type IpAddress } from '../address/address.ts'
import { CniError, ErrorCode } from '../cni/errors.ts'
import { elementsOfSet, hasTable, rulesBySet } from '../firewall/nftables/ruleset.ts'
import { openNftables, requireNftables } from '../firewall/nftables/socket.ts'
import { applyPlanned, createMissing } from '../firewall/nftables/transaction.ts'
import type { PendingClose } from '../firewall/pending-close.ts'
import type { Request } from '../netlink/message.ts'
import {
  createElements,
  deleteElements,
  elementFormat,
  getElement,
  type SetElement,
} from '../netlink/netfilter/element.ts'
import { expressionData } from '../netlink/netfilter/expression-attributes.ts'
import { listRules, ruleFormat } from '../netlink/netfilter/rule.ts'
import type { SetName } from '../netlink/netfilter/set.ts'
import { deleteTable } from '../netlink/netfilter/table.ts'
import type { NetlinkSocket } from '../netlink/socket.ts'
import {
  bridgeKey,
  createOverlayTable,
  creation,
  gatewayBridgeSet,
  networkComment,
  overlayTable,
  peerSets,
  tunnelChain,
  tunnelKey,
  tunnelSet,
} from './nftables.ts'

/** A network's tunnel on this host, and the hosts at its other ends. */
export interface TunnelPeers {
  readonly network: string
  readonly port: number
  readonly vni: number
  readonly peers: readonly IpAddress[]
}

const sets: readonly SetName[] = [tunnelSet, peerSets.ip, peerSets.ip6]

function withFilter<T>(use: (socket: NetlinkSocket) => T): T {
  const socket = requireNftables('peer filter with nftables', 'use another kernel')
  try {
    return use(socket)
  } finally {
    socket.close()
  }
}

/** From now on exactly these peers' packets are taken for the network. Repeating it changes nothing. @throws CniError */
export function setPeers(tunnel: TunnelPeers): void {
  withFilter(socket => createMissing(socket, creation, () => peerChanges(socket, tunnel)))
}

function peerChanges(socket: NetlinkSocket, tunnel: TunnelPeers): Request[] {
  const table = hasTable(socket, overlayTable) ? [] : createOverlayTable()
  const wanted = wantedKeys(tunnel)
  const comment = networkComment(tunnel.network)
  return [
    ...table,
    ...sets.flatMap(set => {
      const keys = new Map((wanted.get(set) ?? []).map(key => [textOf(key), key]))
      const present = table.length > 0 ? [] : elementsOfSet(socket, set)
      // An element of the same key with another network's comment is what that network has left behind: a tunnel's
      // number is one network's on a host.
      const stale = present.filter(element => (element.comment === comment) !== keys.has(textOf(element.key)))
      const kept = new Set(present.filter(element => element.comment === comment).map(({ key }) => textOf(key)))
      const missing = [...keys].filter(([text]) => !kept.has(text)).map(([, key]) => key)
      const created = missing.map(key => ({ key, comment }))
      return [
        ...inRequests(stale, part => deleteElements(set, part)),
        ...inRequests(created, part => createElements(set, part, { exclusive: true })),
      ]
    }),
  ]
}

/** So that elements with the longest comments fit into one attribute, 64 KiB. */
const ELEMENTS_IN_REQUEST = 250

function inRequests(elements: readonly SetElement[], request: (part: readonly SetElement[]) => Request): Request[] {
  const requests: Request[] = []
  for (let start = 0; start < elements.length; start += ELEMENTS_IN_REQUEST)
    requests.push(request(elements.slice(start, start + ELEMENTS_IN_REQUEST)))
  return requests
}

function wantedKeys({ port, vni, peers }: TunnelPeers): Map<SetName, Uint8Array[]> {
  const keys = (length: number) => peers.filter(peer => peer.length === length).map(peer => tunnelKey(port, vni, peer))
  return new Map<SetName, Uint8Array[]>([
    [tunnelSet, [tunnelKey(port, vni)]],
    [peerSets.ip, keys(4)],
    [peerSets.ip6, keys(16)],
  ])
}

/** Keys as texts, to be looked up: there may be thousands. */
function textOf(key: Uint8Array): string {
  return key.join('.')
}

/** Whether packets for the tunnel are filtered at all. */
export function hasPeerFilter(port: number, vni: number): boolean {
  return withFilter(socket => socket.get(elementFormat, getElement(tunnelSet, tunnelKey(port, vni))) !== undefined)
}

/** The hosts whose packets are taken for the tunnel; undefined when they are not filtered. */
export function admittedPeers(port: number, vni: number): IpAddress[] | undefined {
  const tunnel = tunnelKey(port, vni)
  return withFilter(socket => {
    if (socket.get(elementFormat, getElement(tunnelSet, tunnel)) === undefined) return undefined
    return [peerSets.ip, peerSets.ip6].flatMap(set =>
      elementsOfSet(socket, set).flatMap(({ key }) =>
        textOf(key.subarray(0, tunnel.length)) === textOf(tunnel) ? [Uint8Array.from(key.subarray(tunnel.length))] : [],
      ),
    )
  })
}

/** How many packets of hosts that are no peers were dropped since the filter was made. */
export function strangersDropped(): bigint {
  const socket = openNftables()
  if (socket === undefined) return 0n
  try {
    let packets = 0n
    if (!hasTable(socket, overlayTable)) return packets
    for (const { attributes } of socket.dump(ruleFormat, listRules(tunnelChain)))
      for (const expression of attributes.expressions ?? [])
        packets += expressionData('counter', expression)?.packets ?? 0n
    return packets
  } finally {
    socket.close()
  }
}

/** Takes the network's filter away, and the table with the last of everything. Nothing there is fine. */
export function deletePeers(network: string): PendingClose {
  const socket = openNftables()
  const close = () => socket?.close()
  if (socket === undefined) return { close }
  const comment = networkComment(network)
  try {
    applyPlanned(socket, 'delete peer filter', () => {
      if (!hasTable(socket, overlayTable)) return []
      const present = [...sets, gatewayBridgeSet].map(set => ({ set, elements: elementsOfSet(socket, set) }))
      const owned = present.map(({ set, elements }) => ({
        set,
        elements: elements.filter(one => one.comment === comment),
      }))
      const left = present.some(({ elements }, index) => elements.length > (owned[index]?.elements.length ?? 0))
      if (!left) return [deleteTable(overlayTable)]
      return owned.flatMap(({ set, elements }) => inRequests(elements, part => deleteElements(set, part)))
    })
    return { close }
  } catch (error) {
    close()
    throw error
  }
}

/** Whether packets are filtered as `setPeers` left it. @throws CniError code 105 */
export function checkPeers(tunnel: TunnelPeers): void {
  withFilter(socket => {
    for (const [set, keys] of wantedKeys(tunnel)) {
      const present = new Set(elementsOfSet(socket, set).map(({ key }) => textOf(key)))
      const missing = keys.find(key => !present.has(textOf(key)))
      if (missing !== undefined) fail(tunnel.network, `set "${set.set}" lacks ${describeKey(missing)}`)
    }
    if (!rulesBySet(socket, tunnelChain).has(tunnelSet.set))
      fail(tunnel.network, `chain "${tunnelChain.chain}" has no rules`)
  })
}

function describeKey(key: Uint8Array): string {
  const peer = Uint8Array.from(key.subarray(8))
  return peer.length === 0 ? 'its tunnel' : `peer ${formatAddress(peer)}`
}

function fail(network: string, what: string): never {
  throw new CniError(
    ErrorCode.checkFailed,
    `peer filter of network "${network}": in nftables table "${overlayTable.family} ${overlayTable.table}" ${what}`,
    'something removed it, "nft flush ruleset" or a firewall reload perhaps: create the container again',
  )
}

/** Keeps the host from routing between the ports of a gateway bridge. Repeating it changes nothing. @returns whether it was new */
export function isolateGatewayBridge(bridge: string): boolean {
  let isNew = false
  withFilter(socket =>
    createMissing(socket, creation, () => {
      const table = hasTable(socket, overlayTable) ? [] : createOverlayTable()
      isNew =
        table.length > 0 || socket.get(elementFormat, getElement(gatewayBridgeSet, bridgeKey(bridge))) === undefined
      if (!isNew) return []
      return [...table, createElements(gatewayBridgeSet, [{ key: bridgeKey(bridge) }], { exclusive: true })]
    }),
  )
  return isNew
}

/** Forgets a gateway bridge that is gone, and the table with the last of everything. */
export function forgetGatewayBridge(bridge: string): void {
  const socket = openNftables()
  if (socket === undefined) return
  try {
    applyPlanned(socket, 'forget gateway bridge', () => {
      const bridges = elementsOfSet(socket, gatewayBridgeSet)
      const own = bridges.filter(({ key }) => textOf(key) === textOf(bridgeKey(bridge)))
      if (own.length === 0) return []
      const last = own.length === bridges.length && elementsOfSet(socket, tunnelSet).length === 0
      return last ? [deleteTable(overlayTable)] : [deleteElements(gatewayBridgeSet, own)]
    })
  } finally {
    socket.close()
  }
}

/** The peers of a list that are not this host. */
export function otherPeers(peers: readonly IpAddress[], local: IpAddress): IpAddress[] {
  return peers.filter(peer => !equalAddresses(peer, local))
}
