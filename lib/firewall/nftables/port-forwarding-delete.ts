/** DEL: finds the attachment's elements by its ports, or by reading the maps, and deletes them. */

import type { Request } from '../../netlink/message.ts'
import {
  deleteElements,
  elementFormat,
  elementsOf,
  getElement,
  type SetElement,
} from '../../netlink/netfilter/element.ts'
import type { IpFamilyName } from '../../netlink/netfilter/expressions.ts'
import type { SetName } from '../../netlink/netfilter/set.ts'
import type { NetlinkSocket } from '../../netlink/socket.ts'
import type { Attachment } from '../attachment.ts'
import type { KnownForwarding } from '../port-forwarding-intent.ts'
import { ipFamily } from './layout.ts'
import { claimsOf, type Forwarded } from './port-forwarding-elements.ts'
import { goDeletions } from './port-forwarding-foreign.ts'
import { findHoldings, type Holding, holdingsOf, isFor, perMap } from './port-forwarding-holders.ts'
import { families, portMaps, portmapTable } from './port-forwarding-objects.ts'
import { ownerPrefix } from './port-forwarding-owner.ts'
import { isSourceSet, sourceKeys } from './port-forwarding-sources.ts'
import { hasPortMaps } from './port-forwarding-structure.ts'
import { waitingChanges, waitingHoldings } from './port-forwarding-waiting.ts'
import { elementsOfSet, setNames } from './ruleset.ts'
import { applyPlanned } from './transaction.ts'

/**
 * Deletes the attachment's elements, and only its own, and what the Go plugin keeps for the container. The table stays for the next ADD; GC removes it.
 * @returns what was forwarded
 */
export function deleteFromNftables(
  socket: NetlinkSocket,
  attachment: Attachment,
  { mappings, addresses }: KnownForwarding,
): Forwarded[] {
  const owner = ownerPrefix(attachment)
  let deleted: Forwarded[] = []
  applyPlanned(socket, 'delete port forwarding', () => {
    deleted = []
    const foreign = goDeletions(socket, attachment.containerId, addresses)
    if (!hasPortMaps(socket)) return foreign
    const isOwn = ({ element }: Holding) => element.comment?.startsWith(owner) === true
    const known = mappings && knownHoldings(socket, mappings, familiesOf(addresses), isOwn)
    const own = known ?? allHoldings(socket).filter(isOwn)
    const names = setNames(socket, portmapTable)
    const sets = names.filter(name => isSourceSet(name, attachment.network)).map(set => ({ ...portmapTable, set }))
    deleted = own.map(({ forwarded }) => forwarded).filter(forwarded => forwarded !== undefined)
    return [
      ...perMap(own, deleteElements),
      ...waitingChanges(waitingHoldings(socket, names), isOwn, own),
      ...sourceDeletions(socket, sets, attachment, owner, addresses),
      ...foreign,
    ]
  })
  return deleted
}

/** All elements of all maps. */
export function allHoldings(socket: NetlinkSocket): Holding[] {
  return portMaps.flatMap(map => holdingsOf(socket, map))
}

/** Those of the container's addresses; both where these are not known. */
function familiesOf(addresses: KnownForwarding['addresses'] = []): readonly IpFamilyName[] {
  const known = families.filter(family => addresses.some(({ address }) => ipFamily(address) === family))
  return known.length === 0 ? families : known
}

/** The elements of the mappings; undefined when one of them has none in any family, and others may be there. */
function knownHoldings(
  socket: NetlinkSocket,
  mappings: NonNullable<KnownForwarding['mappings']>,
  of: readonly IpFamilyName[],
  isOwn: (holding: Holding) => boolean,
): Holding[] | undefined {
  const own = findHoldings(socket, claimsOf(mappings, of)).filter(isOwn)
  const complete = of.some(family =>
    claimsOf(mappings, [family]).every(claim => own.some(holding => isFor(holding, claim))),
  )
  return complete ? own : undefined
}

/** The elements of the network's sets that are the attachment's: looked up by its addresses, or read when these find none. */
function sourceDeletions(
  socket: NetlinkSocket,
  sets: readonly SetName[],
  { network }: Attachment,
  owner: string,
  addresses: KnownForwarding['addresses'] = [],
): Request[] {
  const isOwn = ({ comment }: SetElement) => comment?.startsWith(owner) === true
  const probes = sets.flatMap(set => sourceKeys(set.set, network, addresses).map(key => ({ set, key })))
  const answers = socket.getAll(
    elementFormat,
    probes.map(({ set, key }) => getElement(set, key)),
  )
  const found = probes.filter((_, index) => {
    const answer = answers[index]
    return answer !== undefined && elementsOf(answer).some(isOwn)
  })
  if (found.length > 0) return found.map(({ set, key }) => deleteElements(set, [{ key }]))
  return sets.flatMap(set => {
    const owned = elementsOfSet(socket, set).filter(isOwn)
    return owned.length === 0 ? [] : [deleteElements(set, owned)]
  })
}
