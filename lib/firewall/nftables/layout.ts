/**
 * Where cnikit's nftables state is, and how it is named:
 *
 *     table inet cnikit {
 *       set masquerade/podnet/10.1.0.0/16 {            one for each subnet of a network
 *         type ipv4_addr
 *         elements = { 10.1.0.5 comment "3f0e... eth0" }   one for each address of an attachment
 *       }
 *       chain masquerading {
 *         type nat hook postrouting priority srcnat; policy accept;
 *         ip daddr 224.0.0.0/4 return
 *         ip6 daddr ff00::/8 return
 *         ip saddr @masquerade/podnet/10.1.0.0/16 ip daddr != 10.1.0.0/16 masquerade
 *       }
 *     }
 *
 * Plain sets and not one verdict map: the kernel checks all of a table's verdicts for loops whenever one is added, which
 * takes 0.1 ms at 1,000 elements and 1 ms at 10,000; adding to a set takes 0.01 ms always. A set for each network, and
 * not one for all: two networks may have the same addresses (on bridges in different VRFs), and each then keeps its own
 * element; GC and a DEL that knows no address read the elements of one network only. Matching by the input interface
 * instead would need Linux 5.7 and fail for bridges in a VRF, whose packets come from the VRF's interface.
 */

import type { IpAddress } from '../../address/address.ts'
import { formatPrefix, networkOf, type Prefix } from '../../address/prefix.ts'
import type { ChainName } from '../../netlink/netfilter/chain.ts'
import type { SetName } from '../../netlink/netfilter/set.ts'
import type { TableName } from '../../netlink/netfilter/table.ts'
import { type Attachment, shortened } from '../attachment.ts'

export const cnikitTable: TableName = { family: 'inet', table: 'cnikit' }

/** Not "masquerade", which is a word of nft's language: it could not load what it has printed. */
export const masqueradeChain: ChainName = { ...cnikitTable, chain: 'masquerading' }

/** With the rest of a set's name within NFT_NAME_MAXLEN. */
const NETWORK_NAME_LIMIT = 190
/** With the longest interface name within the limit of nft's comments. */
const CONTAINER_ID_LIMIT = 110

/** What the names of all masquerade sets begin with. */
export const MASQUERADE_SETS = 'masquerade/'

/** The part of a set's name that names the network: of no two networks it is the same, nor how the other's begins. */
export function networkInName(network: string): string {
  const name = shortened(network, NETWORK_NAME_LIMIT, '/')
  // Apart from those of a network whose name is what the shortened one begins with.
  return `${name.includes('/') ? `/${name}` : name}/`
}

/** What the names of a network's sets begin with. */
export function masqueradeSetPrefix(network: string): string {
  return `${MASQUERADE_SETS}${networkInName(network)}`
}

/** The set for an attachment's address, which is that of its subnet. nft allows no colon in a name. */
export function masqueradeSet(network: string, address: Prefix): SetName {
  const subnet = formatPrefix(networkOf(address)).replaceAll(':', '-')
  return { ...cnikitTable, set: `${masqueradeSetPrefix(network)}${subnet}` }
}

/** The comment that says whose element it is, in a set that already names the network. */
export function ownerComment(attachment: Pick<Attachment, 'containerId' | 'ifname'>): string {
  return `${shortened(attachment.containerId, CONTAINER_ID_LIMIT, '~')} ${attachment.ifname}`
}

/** Together with a container id, the longest interface name and a namespace's number within the limit of nft's comments. */
const NETWORK_WORD_LIMIT = 35
const CONTAINER_WORD_LIMIT = 64

/** What the comments of the network's elements begin with, in a set that all networks share. */
export function networkPrefix(network: string): string {
  return `${shortened(network, NETWORK_WORD_LIMIT, '~')} `
}

/** The word that names a container in such a comment. */
export function containerWord(containerId: string): string {
  return shortened(containerId, CONTAINER_WORD_LIMIT, '~')
}

/** The comment that says whose element it is, or what such a comment begins with, in a set that all networks share. */
export function attachmentWords({ network, containerId, ifname }: Attachment): string {
  return `${networkPrefix(network)}${containerWord(containerId)} ${ifname}`
}

/** The name by which nft and the kernel's expressions call the family of an address. */
export function ipFamily(address: IpAddress): 'ip' | 'ip6' {
  return address.length === 4 ? 'ip' : 'ip6'
}
