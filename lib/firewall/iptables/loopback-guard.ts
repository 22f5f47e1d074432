/**
 * Keeps what comes from elsewhere from 127.0.0.0/8, as Linux does of itself until route_localnet is turned on for the
 * host's own connections to published ports:
 *
 *     -A PREROUTING -j CNIKIT-LOOPBACK-GUARD
 *     -A CNIKIT-LOOPBACK-GUARD -d 127.0.0.0/8 ! -i lo -j DROP
 *
 * In the table "raw", before replies to those connections get such a destination again. It stays, as route_localnet does.
 */

import { placesWithChain } from './places.ts'
import { changePlanned, type Environment, emptyTable, readTable, type SavedTable, type TablePlace } from './table.ts'
import { isJumpTo, missingChainLines, missingLines, missingRules, type WantedRule } from './wanted-rule.ts'

const CHAIN = 'CNIKIT-LOOPBACK-GUARD'
const place: TablePlace = { table: 'raw', family: 4, variant: 'default' }

const rules: readonly WantedRule[] = [
  { specification: `${CHAIN} -d 127.0.0.0/8 ! -i lo -j DROP`, matches: isJumpTo(CHAIN, 'DROP') },
  { specification: `PREROUTING -j ${CHAIN}`, matches: isJumpTo('PREROUTING', CHAIN), first: true },
]

/** @throws CniError */
export function addLoopbackGuard(environment: Environment): void {
  const plan = (table: SavedTable) => [...missingChainLines(table, [CHAIN]), ...missingLines(table, rules)]
  changePlanned(
    place,
    environment,
    plan,
    placesWithChain('raw', CHAIN, environment).length > 0 ? undefined : emptyTable,
  )
}

/** Whether it is there. @throws CniError */
export function hasLoopbackGuard(environment: Environment): boolean {
  if (placesWithChain('raw', CHAIN, environment).length === 0) return false
  return missingRules(readTable(place, environment), rules).length === 0
}
