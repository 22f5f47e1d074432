/**
 * The rules of port forwarding in iptables' nat table: those of the Go plugin, word for word, so that either side finds
 * what the other made:
 *
 *     -A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT                        and in OUTPUT
 *     -A POSTROUTING -m comment --comment "CNI portfwd requiring masquerade" -j CNI-HOSTPORT-MASQ
 *     -A CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE
 *     -A CNI-HOSTPORT-SETMARK -m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark 0x2000/0x2000
 *     -A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: ..." -m multiport --dports 8080,8443 -j CNI-DN-3f0e...
 *     -A CNI-DN-3f0e... -m comment --comment "podnet 3f0e... eth0 4026532008"
 *     -A CNI-DN-3f0e... -s 10.1.0.0/16 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK
 *     -A CNI-DN-3f0e... -s 127.0.0.1/32 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK
 *     -A CNI-DN-3f0e... -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.1.0.5:80
 *
 * The rule without a target is ours alone: it says whose the rules after it are, up to the next such rule. The container's
 * rules come before those of others in CNI-HOSTPORT-DNAT: what a container that is gone may have left is behind them.
 */

import { type Family, familyOf, formatAddress } from '../../address/address.ts'
import { formatPrefix, networkOf, type Prefix } from '../../address/prefix.ts'
import type { Attachment } from '../attachment.ts'
import { type Owner, ownerComment, readOwner } from '../nftables/port-forwarding-owner.ts'
import type { PortForwarding, PortMapping } from '../port-forwarding-intent.ts'
import { portForwardingChain, portForwardingComment } from './names.ts'
import { quoteWord, SavedRule } from './table.ts'
import { commented, single } from './wanted-rule.ts'

export const DNAT = 'CNI-HOSTPORT-DNAT'
export const SETMARK = 'CNI-HOSTPORT-SETMARK'
export const MASQ = 'CNI-HOSTPORT-MASQ'

/** Of the match "multiport". */
const MULTIPORT_LIMIT = 15

/** The rules of one attachment in the table of one family. */
export interface WantedPorts {
  /** The container's. */
  readonly chain: string
  /** Empty for a family that has no mapping: then there is nothing else either. */
  readonly rules: readonly SavedRule[]
  /** Which lead to the chain. */
  readonly entries: readonly SavedRule[]
}

/** Whose rules begin here; undefined for any other rule. */
export function ownerOf(rule: SavedRule): Owner | undefined {
  return rule.target === undefined ? readOwner(rule.comment) : undefined
}

/** The mappings that the family has a part in. */
function mappingsOf(forwarding: PortForwarding, family: Family): PortMapping[] {
  return forwarding.mappings.filter(({ hostAddress }) => hostAddress === undefined || familyOf(hostAddress) === family)
}

/** What the attachment wants of the family of the address, which is the container's. */
export function wantedPorts(attachment: Attachment, forwarding: PortForwarding, address: Prefix): WantedPorts {
  const { network, containerId } = attachment
  const family = familyOf(address.address)
  const chain = portForwardingChain(network, containerId)
  const mappings = mappingsOf(forwarding, family)
  if (mappings.length === 0) return { chain, rules: [], entries: [] }
  const rules = [commented(ownerComment(attachment, forwarding.namespace))]
  // Linux forwards nothing that comes from ::1: left alone, it is at least refused, or served by the host itself.
  if (family === 6) rules.push('-d ::1/128 -j RETURN')
  for (const mapping of mappings) rules.push(...rulesOfMapping(mapping, forwarding, address))
  return {
    chain,
    rules: rules.map(rule => new SavedRule(`${chain} ${rule}`)),
    entries: entryRules(forwarding, family, portForwardingComment(network, containerId)).map(
      rule => new SavedRule(`${DNAT} ${rule} -j ${chain}`),
    ),
  }
}

function rulesOfMapping(mapping: PortMapping, forwarding: PortForwarding, address: Prefix): string[] {
  const { transport, hostPort, containerPort, hostAddress } = mapping
  const host = hostAddress?.some(byte => byte !== 0) ? `-d ${single(hostAddress)} ` : ''
  const match = `${host}-p ${transport} -m ${transport} --dport ${hostPort}`
  const { externalMarkChain } = forwarding
  const mark = externalMarkChain === undefined ? SETMARK : quoteWord(externalMarkChain)
  const container = formatAddress(address.address)
  const isIp6 = familyOf(address.address) === 6
  return [
    ...sourcesToMark(forwarding, address).map(source => `${source}${match} -j ${mark}`),
    `${match} -j DNAT --to-destination ${isIp6 ? `[${container}]` : container}:${containerPort}`,
  ]
}

/** From where connections would not come back the way they went: the container and its subnet, and the host's loopback. */
function sourcesToMark(forwarding: PortForwarding, address: Prefix): string[] {
  if (!forwarding.snat) return []
  if (forwarding.masqueradeAll) return ['']
  const near = forwarding.preserveClientAddress ? single(address.address) : formatPrefix(networkOf(address))
  return familyOf(address.address) === 4 ? [`-s ${near} `, '-s 127.0.0.1/32 '] : [`-s ${near} `]
}

/** Every transport's ports, some in each rule; as in the Go plugin those that only the other family serves are named too. */
function entryRules({ mappings, conditions }: PortForwarding, family: Family, comment: string): string[] {
  const transports = [...new Set(mappings.map(mapping => mapping.transport))].sort()
  const given = (family === 4 ? conditions.ip : conditions.ip6).map(word => ` ${quoteWord(word)}`).join('')
  const rules: string[] = []
  for (const transport of transports) {
    const ports = mappings.filter(mapping => mapping.transport === transport).map(mapping => mapping.hostPort)
    for (let start = 0; start < ports.length; start += MULTIPORT_LIMIT) {
      const some = ports.slice(start, start + MULTIPORT_LIMIT).join(',')
      rules.push(`-p ${transport} ${commented(comment)} -m multiport --dports ${some}${given}`)
    }
  }
  return rules
}
