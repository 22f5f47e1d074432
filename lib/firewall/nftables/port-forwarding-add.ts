/** ADD: one element for each port or range, in which the one that is wanted finds who has it already. */

import { formatAddress } from '../../address/address.ts'
import { CniError, ErrorCode } from '../../cni/errors.ts'
import type { Request } from '../../netlink/message.ts'
import { createElements, deleteElements, type SetElement } from '../../netlink/netfilter/element.ts'
import type { NetlinkSocket } from '../../netlink/socket.ts'
import type { Attachment } from '../attachment.ts'
import type { PortForwarding } from '../port-forwarding-intent.ts'
import { missingClaims } from './claims.ts'
import { attachmentWords, ipFamily } from './layout.ts'
import { claimElement, claimsOf, type Forwarded, mapOf, type PortClaim } from './port-forwarding-elements.ts'
import { findHoldings, type Holding, isFor, perMap } from './port-forwarding-holders.ts'
import { createPostrouting, portmapCreation, portmapTable, postroutingChain } from './port-forwarding-objects.ts'
import { deathOfOwners, isOfContainer, ownerComment, readOwner } from './port-forwarding-owner.ts'
import { createSource, sourceClaims } from './port-forwarding-sources.ts'
import { missingStructure } from './port-forwarding-structure.ts'
import { waitingAdditions } from './port-forwarding-waiting.ts'
import { missingTableAndChain, setNames } from './ruleset.ts'
import { applyPlanned } from './transaction.ts'

/** What was changed. */
export interface Added {
  /** Whether anything of the attachment's own was added. */
  readonly changed: boolean
  /** What others had, who are gone. */
  readonly reclaimed: readonly Forwarded[]
}

/** @throws CniError code 104 naming who has a port; nothing is changed then */
export function addToNftables(socket: NetlinkSocket, attachment: Attachment, forwarding: PortForwarding): Added {
  const comment = ownerComment(attachment, forwarding.namespace)
  const claims = claimsOf(
    forwarding.mappings,
    forwarding.addresses.map(({ address }) => ipFamily(address)),
  )
  let added: Added = { changed: false, reclaimed: [] }
  const isGone = deathOfOwners(forwarding.namespace)
  const plan = () => {
    const structure = missingStructure(socket)
    const judged = judge(findHoldings(socket, claims), claims, attachment, isGone)
    const wanted = wantedElements(claims, forwarding, comment)
    const waiting = wanted.filter(({ claim }) => judged.shared.some(holding => isFor(holding, claim)))
    const changes = [
      ...elementChanges(
        wanted.filter(one => !waiting.includes(one)),
        judged,
      ),
      ...(waiting.length === 0 ? [] : waitingAdditions(socket, setNames(socket, portmapTable), waiting)),
      ...missingClaims(socket, sourceClaims(attachment.network, forwarding, comment), withoutSet => [
        ...(structure.length > 0 ? [] : missingTableAndChain(socket, postroutingChain, () => [createPostrouting()])),
        ...withoutSet.flatMap(({ set }) => createSource(attachment.network, set)),
      ]),
    ]
    added = {
      changed: changes.length > 0,
      reclaimed: judged.reclaimed.map(({ forwarded }) => forwarded).filter(forwarded => forwarded !== undefined),
    }
    return [...structure, ...changes]
  }
  applyPlanned(socket, portmapCreation.what, plan, portmapCreation)
  return added
}

/** Elements in the way of what is wanted. */
interface Judged {
  /** The attachment's own. */
  readonly own: readonly Holding[]
  /** Just what is wanted, but of another network or interface of the container: the first of them has it. */
  readonly shared: readonly Holding[]
  /** Of attachments that are gone. */
  readonly reclaimed: readonly Holding[]
}

/** @throws CniError code 104 for anything else */
function judge(
  holdings: readonly Holding[],
  claims: readonly PortClaim[],
  attachment: Attachment,
  isGone: (namespace: bigint) => boolean,
): Judged {
  const words = attachmentWords(attachment)
  const [own, shared, reclaimed]: [Holding[], Holding[], Holding[]] = [[], [], []]
  for (const holding of holdings) {
    const owner = readOwner(holding.element.comment)
    if (owner === undefined) throw taken(holding)
    if (`${owner.network} ${owner.containerId} ${owner.ifname}` === words) own.push(holding)
    else if (!isOfContainer(owner, attachment) && isGone(owner.namespace)) reclaimed.push(holding)
    else if (isOfContainer(owner, attachment) && claims.some(claim => isFor(holding, claim))) shared.push(holding)
    else throw taken(holding)
  }
  return { own, shared, reclaimed }
}

function taken({ map, element, forwarded }: Holding): CniError {
  const owner = readOwner(element.comment)
  const what = forwarded === undefined ? `an element of map "${map.set}"` : describe(forwarded)
  if (owner === undefined) {
    return new CniError(
      ErrorCode.conflict,
      `${what} is taken by an element of nftables map "inet ${map.table} ${map.set}" that cnikit did not make`,
      `remove it ("nft list map inet ${map.table} ${map.set}" shows it), or publish another port`,
    )
  }
  const { network, containerId, ifname } = owner
  return new CniError(
    ErrorCode.conflict,
    `${what} is taken by container ${containerId}, interface "${ifname}" in network "${network}"`,
    'publish another port, or remove that container; where it is gone, GC of its network frees the port',
  )
}

/** `TCP port 8080 of 192.0.2.1 (to 10.1.0.5 port 80)` */
function describe({ transport, first, last, hostAddress, container, containerPort }: Forwarded): string {
  const ports = first === last ? `port ${first}` : `ports ${first}-${last}`
  const to = first === last ? ` port ${containerPort}` : ''
  const of = hostAddress === undefined ? '' : ` of ${formatAddress(hostAddress)}`
  return `${transport.toUpperCase()} ${ports}${of} (to ${formatAddress(container)}${to})`
}

interface Wanted {
  readonly claim: PortClaim
  readonly element: SetElement
}

function wantedElements(claims: readonly PortClaim[], { addresses }: PortForwarding, comment: string): Wanted[] {
  const wanted: Wanted[] = []
  for (const claim of claims) {
    const container = addresses.find(({ address }) => ipFamily(address) === claim.family)?.address
    if (container !== undefined) wanted.push({ claim, element: claimElement(claim, container, comment) })
  }
  return wanted
}

/** The creation of elements that are missing; what the attachment had besides in their place goes. */
function elementChanges(wanted: readonly Wanted[], { own, reclaimed }: Judged): Request[] {
  const right = new Set<Holding>()
  const missing = wanted.filter(({ claim, element }) => {
    const present = own.find(holding => isFor(holding, claim) && isSame(holding.element, element))
    if (present !== undefined) right.add(present)
    return present === undefined
  })
  const wrong = [...reclaimed, ...own].filter(holding => !right.has(holding))
  return [
    ...perMap(wrong, deleteElements),
    ...perMap(
      missing.map(({ claim, element }) => ({ map: mapOf(claim), element })),
      (map, elements) => createElements(map, elements, { exclusive: true }),
    ),
  ]
}

/** Whether an element that is found under the same key says the same. */
function isSame(present: SetElement, wanted: SetElement): boolean {
  return present.comment === wanted.comment && present.value?.join() === wanted.value?.join()
}
