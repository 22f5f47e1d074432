/** A container's chain of published ports, read as what it is made of: the rules of each of its attachments. */

import { formatAddress, type IpAddress, parseAddress } from '../../address/address.ts'
import type { Owner } from '../nftables/port-forwarding-owner.ts'
import type { ForwardedPorts } from '../port-forwarding-connections.ts'
import { DNAT, ownerOf, type WantedPorts } from './port-forwarding-rules.ts'
import type { SavedRule, SavedTable } from './table.ts'

/** The rules of one attachment. */
export interface Block {
  /** Undefined for those of the Go plugin, which do not say whose they are. */
  readonly owner: Owner | undefined
  readonly rules: readonly SavedRule[]
}

/** The attachments' rules in the chain, in their order. */
export function blocksIn(table: SavedTable, chain: string): Block[] {
  const blocks: { owner: Block['owner']; rules: SavedRule[] }[] = []
  for (const rule of table.rules) {
    if (rule.chain !== chain) continue
    const owner = ownerOf(rule)
    const last = blocks.at(-1)
    if (owner !== undefined || last === undefined) blocks.push({ owner, rules: [rule] })
    else last.rules.push(rule)
  }
  return blocks
}

/** The rules that lead to the chain. */
export function entriesOf(table: SavedTable, chain: string): SavedRule[] {
  return table.rules.filter(rule => rule.chain === DNAT && rule.target === chain)
}

/**
 * Whether the attachment has the block: the Go plugin's where it leads to the attachment's addresses.
 * @param addresses undefined when nobody knows them: then the Go plugin's are anybody's
 */
export function isOwnBlock(ifname: string, addresses: readonly IpAddress[] | undefined): (block: Block) => boolean {
  const destinations = addresses?.map(address =>
    address.length === 4 ? `${formatAddress(address)}:` : `[${formatAddress(address)}]:`,
  )
  return ({ owner, rules }) => {
    if (owner !== undefined) return owner.ifname === ifname
    if (destinations === undefined) return true
    return rules.some(rule => {
      const to = rule.option('--to-destination')
      return to !== undefined && destinations.some(destination => to.startsWith(destination))
    })
  }
}

/** What a rule does, in one order whatever iptables-save makes of it. */
export function meaningOf(rule: SavedRule): string {
  const options = ['-s', '-d', '-p', '--dport', '--comment', '-j', '--to-destination']
  return options.map(option => `${option} ${rule.option(option) ?? ''}`).join(' ')
}

/** As meaningOf(), of a rule that leads to a container's chain, whose conditions may be any. */
export function meaningOfEntry(rule: SavedRule): string {
  return [...rule.words].sort().join(' ')
}

/** Protocol and ports of a rule that leads to a chain. */
export function portsOfEntry(rule: SavedRule): string[] {
  const transport = rule.option('-p')
  return (rule.option('--dports') ?? '').split(',').map(port => `${transport} ${port}`)
}

/** Protocol and port of a rule within a chain; undefined when it is about none. */
export function portOf(rule: SavedRule): string | undefined {
  const port = rule.option('--dport')
  return port === undefined ? undefined : `${rule.option('-p')} ${port}`
}

/** Where the rules lead, for connections to be forgotten. */
export function forwardedBy(rules: readonly SavedRule[]): ForwardedPorts[] {
  const ports: ForwardedPorts[] = []
  for (const rule of rules) {
    // "10.1.0.5:80", "[fd00:1::5]:80"
    const [, address = ''] = /^\[?([^\]]*?)\]?:\d+$/.exec(rule.option('--to-destination') ?? '') ?? []
    const container = parseAddress(address)
    const port = Number(rule.option('--dport'))
    if (container === undefined || rule.option('-p') !== 'udp' || !(port > 0)) continue
    const hostAddress = parseAddress(rule.destination?.split('/')[0] ?? '')
    ports.push({ transport: 'udp', first: port, last: port, hostAddress, container })
  }
  return ports
}

/** Applied to a table in which the chain is, or is not: puts what is wanted in the place of the attachment's own blocks. */
export function replacementLines(
  table: SavedTable,
  { chain, rules, entries }: WantedPorts,
  isOwn: (block: Block) => boolean,
): string[] {
  const blocks = blocksIn(table, chain)
  const others = blocks.filter(block => !isOwn(block)).flatMap(block => block.rules)
  const own = blocks.filter(isOwn).flatMap(block => block.rules)
  const othersPorts = new Set(others.map(portOf))
  const leading = entriesOf(table, chain)
  const superfluous = leading.filter(
    entry =>
      !portsOfEntry(entry).some(port => othersPorts.has(port)) &&
      !entries.some(wanted => meaningOfEntry(wanted) === meaningOfEntry(entry)),
  )
  const missing = entries.filter(wanted => !leading.some(entry => meaningOfEntry(entry) === meaningOfEntry(wanted)))

  const lines = superfluous.map(entry => `-D ${entry.specification}`)
  const exists = table.chains.includes(chain)
  if (rules.length === 0 && others.length === 0) return exists ? [...lines, `-F ${chain}`, `-X ${chain}`] : lines
  if (own.length !== rules.length || own.some((rule, index) => meaningOf(rule) !== meaningOf(rules[index] ?? rule))) {
    // Under --noflush this line makes the chain, or empties it.
    lines.push(`:${chain} - [0:0]`, ...[...others, ...rules].map(rule => `-A ${rule.specification}`))
  }
  // Each before the one added before it.
  lines.push(...missing.reverse().map(entry => `-I ${entry.specification}`))
  return lines
}
