/**
 * What other programs keep in nftables for an attachment: the Go bridge plugin's own table, and the nat table of
 * iptables-nft with the Go plugins' chains (ours too, with "ipMasqBackend": "iptables"). It is read and deleted here
 * without any program.
 */

import { equalAddresses, familyOf, type IpAddress } from '../../address/address.ts'
import type { Prefix } from '../../address/prefix.ts'
import type { Request } from '../../netlink/message.ts'
import { type ChainName, chainFormat, deleteChain, getChain, listChains } from '../../netlink/netfilter/chain.ts'
import { Verdict } from '../../netlink/netfilter/data.ts'
import { type Expression, expressionData } from '../../netlink/netfilter/expression-attributes.ts'
import type { IpFamilyName } from '../../netlink/netfilter/expressions.ts'
import { deleteRule, listRules, ruleFormat } from '../../netlink/netfilter/rule.ts'
import { commentOf } from '../../netlink/netfilter/userdata.ts'
import type { NetlinkSocket } from '../../netlink/socket.ts'
import { decodeText } from '../../sys/bytes.ts'
import { sha512 } from '../../sys/host.ts'
import type { Attachment } from '../attachment.ts'
import { chainName, isChainName, ownerInComment } from '../iptables/names.ts'

/** The Go bridge plugin's rules with "ipMasqBackend": "nftables". */
const goChain: ChainName = { family: 'inet', table: 'cni_plugins_masquerade', chain: 'masq_checks' }
const families = ['ip', 'ip6'] as const

const natChain = (family: IpFamilyName, chain: string): ChainName => ({ family, table: 'nat', chain })

/** A rule of somebody else's. */
export interface Rule {
  readonly handle: bigint
  readonly expressions: readonly Expression[]
  readonly comment: string | undefined
}

/** The rules of a chain in their order; none where there is no chain. */
export function rulesOf(socket: NetlinkSocket, chain: ChainName): Rule[] {
  return socket.dump(ruleFormat, listRules(chain)).map(({ attributes }) => {
    const expressions = attributes.expressions ?? []
    return {
      handle: attributes.handle ?? 0n,
      expressions,
      comment: commentOf('rule', attributes.userdata) ?? xtablesComment(expressions),
    }
  })
}

/** The comment as iptables-nft stores it: a match whose structure is the text in 256 bytes. */
function xtablesComment(expressions: readonly Expression[]): string | undefined {
  for (const expression of expressions) {
    const match = expressionData('match', expression)
    if (match?.name !== 'comment' || match.info === undefined) continue
    const end = match.info.indexOf(0)
    return decodeText(end < 0 ? match.info : match.info.subarray(0, end))
  }
  return undefined
}

/** The chain to which a rule jumps. */
function jumpTarget(rule: Rule): string | undefined {
  for (const expression of rule.expressions) {
    const verdict = expressionData('immediate', expression)?.data?.verdict
    if (verdict?.code === Verdict.jump || verdict?.code === Verdict.goto) return verdict.chain
  }
  return undefined
}

/** Whether a rule compares something with the address: in the rules looked at here that is the packet's source. */
function comparesWith(rule: Rule, address: IpAddress): boolean {
  return rule.expressions.some(expression => {
    const value = expressionData('cmp', expression)?.data?.value
    return value !== undefined && value.length === address.length && equalAddresses(Uint8Array.from(value), address)
  })
}

/** Which chains of the container are there: iptables-nft's for both families, and whether the Go plugin's own is. */
export function foreignChains(
  socket: NetlinkSocket,
  attachment: Pick<Attachment, 'network' | 'containerId'>,
): { families: IpFamilyName[]; go: boolean } {
  const chain = chainName(attachment.network, attachment.containerId)
  const names = [...families.map(family => natChain(family, chain)), goChain]
  const found = socket.getAll(chainFormat, names.map(getChain))
  return { families: families.filter((_, index) => found[index] !== undefined), go: found.at(-1) !== undefined }
}

/**
 * The deletion of what others keep for the attachment.
 * @param addresses the attachment's; undefined when nobody knows them: then all that the container has in the network
 *   goes, since the iptables rules do not tell the container's interfaces apart
 */
export function foreignDeletions(
  socket: NetlinkSocket,
  attachment: Attachment,
  addresses: readonly Prefix[] | undefined,
): Request[] {
  const found = foreignChains(socket, attachment)
  const chain = chainName(attachment.network, attachment.containerId)
  const changes = found.families.flatMap(family => natDeletions(socket, family, chain, addresses))
  if (found.go) changes.push(...goRules(socket, attachment).map(rule => deleteRule(goChain, rule.handle)))
  return changes
}

/** The attachment's rules in the Go plugin's own table. */
function goRules(socket: NetlinkSocket, attachment: Attachment): Rule[] {
  const owner = goHash(attachment.network, attachment)
  return rulesOf(socket, goChain).filter(rule => rule.comment?.startsWith(owner))
}

/** Whether the Go plugin masquerades the attachment with its own nftables rules. */
export function isMasqueradedByGo(socket: NetlinkSocket, attachment: Attachment): boolean {
  return foreignChains(socket, attachment).go && goRules(socket, attachment).length > 0
}

/** The chain goes with the last rule that leads to it: another attachment of the container may still need it. */
function natDeletions(
  socket: NetlinkSocket,
  family: IpFamilyName,
  chain: string,
  addresses: readonly Prefix[] | undefined,
): Request[] {
  const postrouting = natChain(family, 'POSTROUTING')
  const jumps = rulesOf(socket, postrouting).filter(rule => jumpTarget(rule) === chain)
  const own = addresses?.filter(({ address }) => (familyOf(address) === 4 ? 'ip' : 'ip6') === family)
  const ours = own === undefined ? jumps : jumps.filter(rule => own.some(({ address }) => comparesWith(rule, address)))
  const changes = ours.map(rule => deleteRule(postrouting, rule.handle))
  return ours.length === jumps.length ? [...changes, deleteChain(natChain(family, chain))] : changes
}

/** The deletion of what others keep for attachments of the network that are not valid. */
export function foreignGarbage(
  socket: NetlinkSocket,
  network: string,
  valid: readonly Pick<Attachment, 'containerId' | 'ifname'>[],
): Request[] {
  const containers = new Set(valid.map(attachment => attachment.containerId))
  const validHashes = valid.map(attachment => goHash(network, attachment))
  const changes: Request[] = []
  for (const family of families) {
    for (const { attributes } of socket.dump(chainFormat, listChains(family))) {
      const chain = attributes.name ?? ''
      if (attributes.table !== 'nat' || !isChainName(chain)) continue
      const owner = ownerInComment(rulesOf(socket, natChain(family, chain))[0]?.comment ?? '')
      if (owner?.network !== network || containers.has(owner.containerId)) continue
      if (chainName(network, owner.containerId) === chain)
        changes.push(...natDeletions(socket, family, chain, undefined))
    }
  }
  for (const rule of rulesOf(socket, goChain)) {
    const { comment } = rule
    if (comment === undefined || !comment.startsWith(`${goHash(network)}-`)) continue
    if (!validHashes.some(hash => comment.startsWith(hash))) changes.push(deleteRule(goChain, rule.handle))
  }
  return changes
}

/** What the comments of the Go plugin's nftables rules begin with. */
function goHash(network: string, attachment?: Pick<Attachment, 'containerId' | 'ifname'>): string {
  const ofNetwork = sha512(network).slice(0, 16)
  if (attachment === undefined) return ofNetwork
  return `${ofNetwork}-${sha512(`${attachment.ifname}:${attachment.containerId}`).slice(0, 16)}`
}
