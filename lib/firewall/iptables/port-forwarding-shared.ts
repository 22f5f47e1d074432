/** The chains and rules through which packets to all published ports go. They stay when the last container goes. */

import type { PortForwarding } from '../port-forwarding-intent.ts'
import { DNAT, MASQ, SETMARK } from './port-forwarding-rules.ts'
import type { SavedTable } from './table.ts'
import { isJumpTo, missingChainLines, missingLines, missingRules, type WantedRule } from './wanted-rule.ts'

function markRules(bit: number): WantedRule[] {
  const mark = `0x${(2 ** bit).toString(16)}/0x${(2 ** bit).toString(16)}`
  return [
    {
      specification: `${SETMARK} -m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark ${mark}`,
      matches: rule => isJumpTo(SETMARK, 'MARK')(rule) && rule.option('--set-xmark') === mark,
    },
    {
      specification: `${MASQ} -m mark --mark ${mark} -j MASQUERADE`,
      matches: rule => isJumpTo(MASQ, 'MASQUERADE')(rule) && rule.option('--mark') === mark,
    },
    {
      specification: `POSTROUTING -m comment --comment "CNI portfwd requiring masquerade" -j ${MASQ}`,
      matches: isJumpTo('POSTROUTING', MASQ),
      // What the container's own masquerade rules accept would not come here.
      first: true,
    },
  ]
}

const dnatRules: readonly WantedRule[] = ['PREROUTING', 'OUTPUT'].map(chain => ({
  specification: `${chain} -m addrtype --dst-type LOCAL -j ${DNAT}`,
  matches: isJumpTo(chain, DNAT),
}))

const ownMark = ({ snat, externalMarkChain }: PortForwarding): boolean => snat && externalMarkChain === undefined

const rulesOf = (forwarding: PortForwarding): readonly WantedRule[] =>
  ownMark(forwarding) ? [...markRules(forwarding.markBit), ...dnatRules] : dnatRules

/** The rules that are not there. */
export function missingShared(table: SavedTable, forwarding: PortForwarding): WantedRule[] {
  return missingRules(table, rulesOf(forwarding))
}

/** What creates them, and their chains. */
export function missingSharedLines(table: SavedTable, forwarding: PortForwarding): string[] {
  const chains = ownMark(forwarding) ? [SETMARK, MASQ, DNAT] : [DNAT]
  return [...missingChainLines(table, chains), ...missingLines(table, rulesOf(forwarding))]
}
