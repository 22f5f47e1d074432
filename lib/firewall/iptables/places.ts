/** Which of iptables' tables hold a chain, told without running a program, which costs milliseconds and may make tables. */

import { chainFormat, getChain } from '../../netlink/netfilter/chain.ts'
import { openNftables } from '../nftables/socket.ts'
import { type Environment, findLegacyTable, type TableName, type TablePlace } from './table.ts'

const families = [4, 6] as const

/**
 * The tables of this name that have the chain, or, of the old iptables, that may have it.
 * @throws NetlinkError
 */
export function placesWithChain(table: TableName, chain: string, environment: Environment): TablePlace[] {
  const places: TablePlace[] = []
  const socket = openNftables()
  try {
    const names = families.map(family => ({ family: family === 4 ? 'ip' : 'ip6', table, chain }) as const)
    const found = socket?.getAll(chainFormat, names.map(getChain)) ?? []
    for (const [index, family] of families.entries()) {
      if (found[index] !== undefined) places.push({ table, family, variant: 'nft' })
      const legacy = findLegacyTable(table, family, environment)
      if (legacy !== undefined) places.push(legacy)
    }
    return places
  } finally {
    socket?.close()
  }
}
