/**
 * What the Go portmap plugin keeps in nftables: a rule for each port and family in tables of its own, with the container's
 * id for a comment. They do not name the network.
 */

import { equalAddresses, type IpAddress } from '../../address/address.ts'
import type { Request } from '../../netlink/message.ts'
import { type ChainName, chainFormat, getChain } from '../../netlink/netfilter/chain.ts'
import { expressionData } from '../../netlink/netfilter/expression-attributes.ts'
import { deleteRule } from '../../netlink/netfilter/rule.ts'
import type { NetlinkSocket } from '../../netlink/socket.ts'
import type { KnownForwarding } from '../port-forwarding-intent.ts'
import { type Rule, rulesOf } from './foreign.ts'
import { families } from './port-forwarding-objects.ts'

const goChains: readonly ChainName[] = families.flatMap(family =>
  ['hostports', 'hostip_hostports', 'masquerading'].map(chain => ({ family, table: 'cni_hostport', chain })),
)

/** The deletion of the container's rules, of all of them when nobody knows its addresses. */
export function goDeletions(
  socket: NetlinkSocket,
  containerId: string,
  addresses: KnownForwarding['addresses'],
): Request[] {
  const found = socket.getAll(chainFormat, goChains.map(getChain))
  return goChains
    .filter((_, index) => found[index] !== undefined)
    .flatMap(chain =>
      rulesOf(socket, chain)
        .filter(({ comment }) => comment === containerId)
        .filter(rule => addresses === undefined || addresses.some(({ address }) => mentions(rule, address)))
        .map(rule => deleteRule(chain, rule.handle)),
    )
}

/** Whether a rule leads to the address, or compares something with it. */
function mentions({ expressions }: Rule, address: IpAddress): boolean {
  return expressions.some(expression => {
    const value = (expressionData('immediate', expression) ?? expressionData('cmp', expression))?.data?.value
    return value !== undefined && equalAddresses(Uint8Array.from(value), address)
  })
}
