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

const CHAIN = 'CNIKIT-LOOPBACK-GUARD'
const place: TablePlace = { table: 'raw', family: 4, variant: 'default' }

const leads = ({ rules }: SavedTable): boolean =>
  rules.some(rule => rule.chain === 'PREROUTING' && rule.target === CHAIN)
const drops = ({ rules }: SavedTable): boolean => rules.some(rule => rule.chain === CHAIN && rule.target === 'DROP')

/** @throws CniError */
export function addLoopbackGuard(environment: Environment): void {
  const plan = (table: SavedTable): string[] => [
    ...(table.chains.includes(CHAIN) ? [] : [`-N ${CHAIN}`]),
    ...(drops(table) ? [] : [`-A ${CHAIN} -d 127.0.0.0/8 ! -i lo -j DROP`]),
    ...(leads(table) ? [] : [`-I PREROUTING -j ${CHAIN}`]),
  ]
  changePlanned(place, environment, plan, placesWithChain('raw', CHAIN).length > 0 ? undefined : emptyTable)
}

/** Whether it is there. @throws CniError */
export function hasLoopbackGuard(environment: Environment): boolean {
  if (placesWithChain('raw', CHAIN).length === 0) return false
  const table = readTable(place, environment)
  return leads(table) && drops(table)
}
