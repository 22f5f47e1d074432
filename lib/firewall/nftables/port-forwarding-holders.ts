/** Who has ports: the elements that answer for packets to a port, wherever they are. */

import { equalAddresses } from '../../address/address.ts'
import type { Request } from '../../netlink/message.ts'
import { elementFormat, elementsOf, getElement, type SetElement } from '../../netlink/netfilter/element.ts'
import type { NetlinkSocket } from '../../netlink/socket.ts'
import { type Forwarded, type PortClaim, portKey, readElement } from './port-forwarding-elements.ts'
import { type PortMap, portMap } from './port-forwarding-objects.ts'
import { elementsOfSet } from './ruleset.ts'

/** An element that is there. */
export interface Holding {
  readonly map: PortMap
  readonly element: SetElement
  /** What it says; undefined when that is nothing that cnikit makes. */
  readonly forwarded: Forwarded | undefined
}

/** Whether a packet could be meant by both. */
function overlap(a: PortClaim, b: PortClaim): boolean {
  return (
    a.family === b.family &&
    a.transport === b.transport &&
    a.first <= b.last &&
    b.first <= a.last &&
    (a.hostAddress === undefined || b.hostAddress === undefined || equalAddresses(a.hostAddress, b.hostAddress))
  )
}

/** A lookup of one key in one map. */
interface Probe {
  readonly map: PortMap
  readonly key: Uint8Array
}

/**
 * The elements that are in the way of the claims, or are theirs already. Looks up single ports, in time that does not grow
 * with the number of mappings on the host; reads all ranges only for a range, and all mappings of single addresses of the
 * host only for one of all addresses.
 */
export function findHoldings(socket: NetlinkSocket, claims: readonly PortClaim[]): Holding[] {
  const probes: Probe[] = []
  const whole = new Map<string, PortMap>()
  const readAll = (map: PortMap) => whole.set(map.set, map)
  for (const { family, transport, hostAddress, first, last } of claims) {
    const addresses = hostAddress === undefined ? [undefined] : [undefined, hostAddress]
    for (const address of addresses) {
      const byAddress = address !== undefined
      for (let port = first; port <= last; port++) {
        probes.push({ map: portMap(family, byAddress, false), key: portKey(transport, port, address) })
      }
      const ranges = portMap(family, byAddress, true)
      if (first === last) probes.push({ map: ranges, key: portKey(transport, first, address) })
      else readAll(ranges)
    }
    if (hostAddress === undefined) {
      readAll(portMap(family, true, false))
      readAll(portMap(family, true, true))
    }
  }
  const found = new Map<string, Holding>()
  const note = (holding: Holding) => found.set(`${holding.map.set} ${holding.element.key.join('.')}`, holding)
  for (const holding of lookUpAll(socket, probes)) note(holding)
  for (const map of whole.values()) {
    for (const holding of holdingsOf(socket, map)) {
      const { forwarded } = holding
      if (forwarded !== undefined && claims.some(claim => overlap(claim, forwarded))) note(holding)
    }
  }
  return [...found.values()]
}

function lookUpAll(socket: NetlinkSocket, probes: readonly Probe[]): Holding[] {
  const answers = socket.getAll(
    elementFormat,
    probes.map(({ map, key }) => getElement(map, key)),
  )
  const holdings: Holding[] = []
  for (const [index, answer] of answers.entries()) {
    const map = probes[index]?.map
    if (answer === undefined || map === undefined) continue
    for (const element of elementsOf(answer)) holdings.push({ map, element, forwarded: readElement(map, element) })
  }
  return holdings
}

/** With the largest keys, values and comments an element takes some 250 bytes, and an attribute holds 64 KiB. */
const ELEMENTS_IN_REQUEST = 200

/** What is done to elements of several maps, in as few requests as can be. */
export function perMap(
  items: readonly { readonly map: PortMap; readonly element: SetElement }[],
  make: (map: PortMap, elements: readonly SetElement[]) => Request,
): Request[] {
  const byMap = new Map<string, { map: PortMap; elements: SetElement[] }>()
  for (const { map, element } of items) {
    const part = byMap.get(map.set) ?? { map, elements: [] }
    part.elements.push(element)
    byMap.set(map.set, part)
  }
  const requests: Request[] = []
  for (const { map, elements } of byMap.values()) {
    for (let start = 0; start < elements.length; start += ELEMENTS_IN_REQUEST) {
      requests.push(make(map, elements.slice(start, start + ELEMENTS_IN_REQUEST)))
    }
  }
  return requests
}

/** All elements of a map. */
export function holdingsOf(socket: NetlinkSocket, map: PortMap): Holding[] {
  return elementsOfSet(socket, map).map(element => ({ map, element, forwarded: readElement(map, element) }))
}

/** Whether the element is the claim's, whoever has it and wherever it leads. */
export function isFor({ map, forwarded }: Holding, claim: PortClaim): boolean {
  return (
    forwarded !== undefined &&
    map.byAddress === (claim.hostAddress !== undefined) &&
    forwarded.first === claim.first &&
    forwarded.last === claim.last &&
    overlap(forwarded, claim)
  )
}
