/**
 * Ports that several networks of one container publish: the first has them, and the others wait in maps that no rule
 * looks into, `waiting/ports` and so on, each made when it is first needed.
 */

import type { Request } from '../../netlink/message.ts'
import { createElements, deleteElements, type SetElement } from '../../netlink/netfilter/element.ts'
import type { NetlinkSocket } from '../../netlink/socket.ts'
import { mapOf, type PortClaim } from './port-forwarding-elements.ts'
import { type Holding, holdingsOf } from './port-forwarding-holders.ts'
import { createPortMap, type PortMap, portMaps } from './port-forwarding-objects.ts'
import { readOwner } from './port-forwarding-owner.ts'

const PREFIX = 'waiting/'

/** Whether a set is one of these. */
export const isWaitingMap = (name: string): boolean => name.startsWith(PREFIX)

const waitingMap = (map: PortMap): PortMap => ({ ...map, set: `${PREFIX}${map.set}` })

const sameKey = (a: SetElement, b: SetElement): boolean =>
  a.key.join() === b.key.join() && (a.keyEnd?.join() ?? '') === (b.keyEnd?.join() ?? '')

/** All that wait. `map` is the one that they wait for. @param names of all sets of the table */
export function waitingHoldings(socket: NetlinkSocket, names: readonly string[]): Holding[] {
  return portMaps
    .filter(map => names.includes(waitingMap(map).set))
    .flatMap(map => holdingsOf(socket, waitingMap(map)).map(holding => ({ ...holding, map })))
}

/** Makes an attachment's elements wait. One waits for each port: of a third network nothing is kept. */
export function waitingAdditions(
  socket: NetlinkSocket,
  names: readonly string[],
  wanted: readonly { readonly claim: PortClaim; readonly element: SetElement }[],
): Request[] {
  const present = wanted.length === 0 ? [] : waitingHoldings(socket, names)
  const missing = new Map<string, PortMap>()
  const additions: Request[] = []
  for (const { claim, element } of wanted) {
    const map = mapOf(claim)
    if (present.some(one => one.map.set === map.set && sameKey(one.element, element))) continue
    const waiting = waitingMap(map)
    if (!names.includes(waiting.set)) missing.set(waiting.set, waiting)
    additions.push(createElements(waiting, [element], { exclusive: true }))
  }
  return [...[...missing.values()].map(createPortMap), ...additions]
}

/** What of those that wait goes, and what takes the place of the elements of its container that are removed. */
export function waitingChanges(
  waiting: readonly Holding[],
  isLeaving: (holding: Holding) => boolean,
  removed: readonly Holding[],
): Request[] {
  const changes: Request[] = []
  for (const holding of waiting) {
    const { map, element } = holding
    const containerId = readOwner(element.comment)?.containerId
    const isNext = removed.some(
      one =>
        one.map.set === map.set &&
        sameKey(one.element, element) &&
        readOwner(one.element.comment)?.containerId === containerId,
    )
    const leaving = isLeaving(holding)
    if (leaving || isNext) changes.push(deleteElements(waitingMap(map), [element]))
    if (isNext && !leaving) changes.push(createElements(map, [element], { exclusive: true }))
  }
  return changes
}
