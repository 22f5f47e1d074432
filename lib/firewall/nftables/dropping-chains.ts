/** Chains of other programs that drop what is forwarded, or what comes in: a verdict of ours cannot overrule theirs. */

import { chainFormat, Hook, listChains, Policy } from '../../netlink/netfilter/chain.ts'
import type { NetfilterFamilyName } from '../../netlink/netfilter/subsystem.ts'
import type { NetlinkSocket } from '../../netlink/socket.ts'

/** What cnikit names its tables. */
const OWN_TABLES = 'cnikit'
const families: readonly NetfilterFamilyName[] = ['inet', 'ip', 'ip6']

/**
 * Base chains in a hook whose policy is to drop, as "ip filter FORWARD": Docker's, a firewall's. What they let through by
 * their rules is not looked at. Those of iptables-legacy are not seen here. @throws NetlinkError
 */
export function droppingChains(socket: NetlinkSocket, hook: 'input' | 'forward'): string[] {
  return families.flatMap(family =>
    socket
      .dump(chainFormat, listChains(family))
      .map(({ attributes }) => attributes)
      .filter(
        ({ table = '', hook: own, policy }) =>
          own?.hooknum === Hook[hook] && policy === Policy.drop && !table.startsWith(OWN_TABLES),
      )
      .map(({ table, name }) => `${family} ${table} ${name}`),
  )
}
