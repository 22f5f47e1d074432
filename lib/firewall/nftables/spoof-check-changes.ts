/** ADD, DEL and GC of the MAC spoof check: the element of an attachment, and what all elements need around them. */

import type { Request } from '../../netlink/message.ts'
import { deleteChain } from '../../netlink/netfilter/chain.ts'
import {
  createElements,
  deleteElements,
  elementFormat,
  elementsOf,
  getElement,
} from '../../netlink/netfilter/element.ts'
import { deleteSet, getSet, setFormat } from '../../netlink/netfilter/set.ts'
import { deleteTable } from '../../netlink/netfilter/table.ts'
import type { NetlinkSocket } from '../../netlink/socket.ts'
import type { Attachment } from '../attachment.ts'
import { attachmentWords, networkPrefix } from './layout.ts'
import { chainNames, elementsOfSet, hasTable, missingTableAndChain, rulesBySet, setNames } from './ruleset.ts'
import {
  type AllowedSource,
  allowedSources,
  createAllowedSources,
  createSpoofCheckChain,
  createSpoofCheckRule,
  sourceKey,
  spoofCheckChain,
  spoofCheckTable,
} from './spoof-check-objects.ts'
import { applyPlanned, type Creation, createMissing, ELEMENTS_IN_BATCH } from './transaction.ts'

const creation: Creation = {
  what: 'MAC spoof check with nftables',
  table: spoofCheckTable,
  needs: 'The kernel needs nftables for bridges, CONFIG_NF_TABLES_BRIDGE. Without it remove "macspoofchk".',
}

/** Allows the source. As with masquerade, what is needed around the element is only looked for without the set. */
export function addAllowedSource(socket: NetlinkSocket, attachment: Attachment, source: AllowedSource): void {
  const element = { key: sourceKey(source), comment: attachmentWords(attachment) }
  const create = () => createElements(allowedSources, [element], { exclusive: true })
  createMissing(socket, creation, () => {
    if (socket.get(setFormat, getSet(allowedSources)) === undefined) {
      const around = missingTableAndChain(socket, spoofCheckChain, createSpoofCheckChain)
      return [...around, createAllowedSources(), createSpoofCheckRule(), create()]
    }
    const answer = socket.get(elementFormat, getElement(allowedSources, element.key))
    const [present] = answer === undefined ? [] : elementsOf(answer)
    if (present === undefined) return [create()]
    return present.comment === element.comment ? [] : [deleteElements(allowedSources, [element]), create()]
  })
}

/** Deletes what the attachment has. Table, chain and set stay for the next ADD; GC removes them. */
export function deleteAllowedSource(
  socket: NetlinkSocket,
  attachment: Attachment,
  source: AllowedSource | undefined,
): void {
  const owner = attachmentWords(attachment)
  applyPlanned(socket, 'delete MAC spoof check', () => {
    if (source !== undefined) {
      const answer = socket.get(elementFormat, getElement(allowedSources, sourceKey(source)))
      const [present] = answer === undefined ? [] : elementsOf(answer)
      if (present?.comment === owner) return [deleteElements(allowedSources, [present])]
    }
    const owned = elementsOfSet(socket, allowedSources).filter(element => element.comment === owner)
    return owned.length === 0 ? [] : [deleteElements(allowedSources, owned)]
  })
}

/** Removes the network's elements whose attachment is not valid, and with the last element of all everything. */
export function gcAllowedSources(
  socket: NetlinkSocket,
  network: string,
  valid: readonly Pick<Attachment, 'containerId' | 'ifname'>[],
): void {
  const prefix = networkPrefix(network)
  const owners = new Set(valid.map(({ containerId, ifname }) => attachmentWords({ network, containerId, ifname })))
  for (let complete = false; !complete; ) {
    applyPlanned(socket, `garbage collection of network "${network}"`, () => {
      complete = true
      if (!hasTable(socket, spoofCheckTable)) return []
      const elements = elementsOfSet(socket, allowedSources)
      const stale = elements.filter(({ comment }) => comment?.startsWith(prefix) && !owners.has(comment))
      if (stale.length === elements.length) return deletions(socket)
      complete = stale.length <= ELEMENTS_IN_BATCH
      const now = stale.slice(0, ELEMENTS_IN_BATCH)
      return [...(now.length === 0 ? [] : [deleteElements(allowedSources, now)]), ...repairs(socket)]
    })
  }
}

/** The table, or only what is ours of it when an administrator has put something in. */
function deletions(socket: NetlinkSocket): Request[] {
  const chains = chainNames(socket, spoofCheckTable)
  const sets = setNames(socket, spoofCheckTable)
  const { chain } = spoofCheckChain
  const { set } = allowedSources
  if (chains.every(name => name === chain) && sets.every(name => name === set)) return [deleteTable(spoofCheckTable)]
  return [
    ...(chains.includes(chain) ? [deleteChain(spoofCheckChain)] : []),
    ...(sets.includes(set) ? [deleteSet(allowedSources)] : []),
  ]
}

/** Chain and rule, where someone removed them. */
function repairs(socket: NetlinkSocket): Request[] {
  const chain = missingTableAndChain(socket, spoofCheckChain, createSpoofCheckChain)
  return rulesBySet(socket, spoofCheckChain).has(allowedSources.set) ? chain : [...chain, createSpoofCheckRule()]
}
