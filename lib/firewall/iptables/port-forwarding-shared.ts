/** The chains and rules through which packets to all published ports go. They stay when the last container goes. */

import type { PortForwarding } from '../port-forwarding-intent.ts'
import { DNAT, MASQ, SETMARK } from './port-forwarding-rules.ts'
import type { SavedRule, SavedTable } from './table.ts'

interface SharedRule {
  /** What follows "-A" or "-I". */
  readonly specification: string
  readonly matches: (rule: SavedRule) => boolean
  readonly first?: boolean
}

const isJump = (chain: string, target: string) => (rule: SavedRule) => rule.chain === chain && rule.target === target

function markRules(bit: number): SharedRule[] {
  const mark = `0x${(2 ** bit).toString(16)}/0x${(2 ** bit).toString(16)}`
  return [
    {
      specification: `${SETMARK} -m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark ${mark}`,
      matches: rule => isJump(SETMARK, 'MARK')(rule) && rule.option('--set-xmark') === mark,
    },
    {
      specification: `${MASQ} -m mark --mark ${mark} -j MASQUERADE`,
      matches: rule => isJump(MASQ, 'MASQUERADE')(rule) && rule.option('--mark') === mark,
    },
    {
      specification: `POSTROUTING -m comment --comment "CNI portfwd requiring masquerade" -j ${MASQ}`,
      matches: isJump('POSTROUTING', MASQ),
      // What the container's own masquerade rules accept would not come here.
      first: true,
    },
  ]
}

const dnatRules: readonly SharedRule[] = ['PREROUTING', 'OUTPUT'].map(chain => ({
  specification: `${chain} -m addrtype --dst-type LOCAL -j ${DNAT}`,
  matches: isJump(chain, DNAT),
}))

const ownMark = ({ snat, externalMarkChain }: PortForwarding): boolean => snat && externalMarkChain === undefined

/** The rules that are not there. */
export function missingShared(table: SavedTable, forwarding: PortForwarding): SharedRule[] {
  const rules = ownMark(forwarding) ? [...markRules(forwarding.markBit), ...dnatRules] : dnatRules
  return rules.filter(({ matches }) => !table.rules.some(matches))
}

/** What creates them, and their chains. */
export function missingSharedLines(table: SavedTable, forwarding: PortForwarding): string[] {
  const chains = ownMark(forwarding) ? [SETMARK, MASQ, DNAT] : [DNAT]
  return [
    // Refused when another process was faster; ":chain" would empty what that has made.
    ...chains.filter(chain => !table.chains.includes(chain)).map(chain => `-N ${chain}`),
    ...missingShared(table, forwarding).map(({ specification, first }) => `${first ? '-I' : '-A'} ${specification}`),
  ]
}
