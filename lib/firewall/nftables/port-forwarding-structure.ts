/** All that is there whatever the attachments: as requests that create what is missing of it. */

import type { Request } from '../../netlink/message.ts'
import { deleteChain } from '../../netlink/netfilter/chain.ts'
import { getSet, setFormat } from '../../netlink/netfilter/set.ts'
import { createTable } from '../../netlink/netfilter/table.ts'
import type { NetlinkSocket } from '../../netlink/socket.ts'
import { hasChain } from './declared-structure.ts'
import {
  createChains,
  createPortMap,
  createPostrouting,
  fixedChains,
  portMaps,
  portmapTable,
  postroutingChain,
} from './port-forwarding-objects.ts'
import { chainNames, hasTable } from './ruleset.ts'

/** Nothing where all the maps are: the chains are only looked at with one of these, by CHECK and by GC. */
export function missingStructure(socket: NetlinkSocket): Request[] {
  const present = socket.getAll(setFormat, portMaps.map(getSet))
  const missing = portMaps.filter((_, index) => present[index] === undefined)
  if (missing.length === 0) return []
  return [
    ...(hasTable(socket, portmapTable) ? [] : [createTable(portmapTable, { exclusive: true })]),
    ...missing.map(createPortMap),
    ...chainRepairs(socket),
  ]
}

/** Whether the maps are there, or were: one of them. */
export function hasPortMaps(socket: NetlinkSocket): boolean {
  return socket.getAll(setFormat, portMaps.map(getSet)).some(answer => answer !== undefined)
}

/** The chains, made anew when one of them is missing or has other rules. */
export function chainRepairs(socket: NetlinkSocket): Request[] {
  const present = chainNames(socket, portmapTable)
  const postrouting = present.includes(postroutingChain.chain) ? [] : [createPostrouting()]
  const chains = fixedChains()
  if (chains.every(chain => hasChain(socket, portmapTable, chain))) return postrouting
  // Those that jump come after the one that they jump to.
  const doomed = chains
    .map(({ chain }) => chain)
    .filter(chain => present.includes(chain))
    .reverse()
  return [...doomed.map(chain => deleteChain({ ...portmapTable, chain })), ...createChains(), ...postrouting]
}
