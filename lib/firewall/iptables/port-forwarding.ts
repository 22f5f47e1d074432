/** Port forwarding with iptables: the chains, rules and comments of the Go plugin. */

import { type Family, familyOf } from '../../address/address.ts'
import { CniError, ErrorCode } from '../../cni/errors.ts'
import { NetlinkProtocol, NetlinkSocket } from '../../netlink/socket.ts'
import type { Attachment } from '../attachment.ts'
import { deathOfOwners } from '../nftables/port-forwarding-owner.ts'
import { forgetForwarded } from '../port-forwarding-connections.ts'
import type {
  KnownForwarding,
  PortForwarding,
  PortForwardingCarrier,
  PortForwardingOptions,
} from '../port-forwarding-intent.ts'
import { addLoopbackGuard, hasLoopbackGuard } from './loopback-guard.ts'
import { ownerInPortForwardingComment, portForwardingChain } from './names.ts'
import { placesWithChain } from './places.ts'
import {
  type Block,
  blocksIn,
  forwardedBy,
  isOwnBlock,
  meaningOf,
  portsOfEntry,
  replacementLines,
} from './port-forwarding-blocks.ts'
import { precedenceLines, reclaimLines } from './port-forwarding-conflicts.ts'
import { DNAT, type WantedPorts, wantedPorts } from './port-forwarding-rules.ts'
import { missingShared, missingSharedLines } from './port-forwarding-shared.ts'
import {
  changePlanned,
  type Environment,
  emptyTable,
  programOf,
  readTable,
  requirePrograms,
  type SavedRule,
  type SavedTable,
  type TablePlace,
} from './table.ts'

/** What the attachment wants of each family that it has an address of. */
function wantedOfFamilies(attachment: Attachment, forwarding: PortForwarding) {
  return forwarding.addresses
    .map(address => ({
      address,
      family: familyOf(address.address),
      wanted: wantedPorts(attachment, forwarding, address),
    }))
    .filter(({ wanted }) => wanted.rules.length > 0)
}

const place = (family: Family): TablePlace => ({ table: 'nat', family, variant: 'default' })

function add(attachment: Attachment, forwarding: PortForwarding, { environment }: PortForwardingOptions): boolean {
  if (forwarding.snat && forwarding.addresses.some(({ address }) => familyOf(address) === 4))
    addLoopbackGuard(environment)
  const present = placesWithChain('nat', DNAT, environment)
  let added = false
  try {
    for (const { address, family, wanted } of wantedOfFamilies(attachment, forwarding)) {
      const mayExist = present.some(found => found.family === family)
      const isOwn = isOwnBlock(attachment.ifname, [address.address])
      let adds = false
      const plan = (table: SavedTable): string[] => {
        const own = replacementLines(table, wanted, isOwn)
        adds = own.length > 0
        const taken = reclaimLines(table, attachment, wanted, deathOfOwners(forwarding.namespace))
        const others = adds ? precedenceLines(table, attachment, wanted) : []
        return [...taken, ...missingSharedLines(table, forwarding), ...own, ...others]
      }
      const changed = changePlanned(place(family), environment, plan, mayExist ? undefined : emptyTable)
      if (changed && adds) added = true
    }
    return added
  } catch (error) {
    // The other family may have it already.
    if (added) remove(attachment, forwarding, { environment })
    throw error
  }
}

function remove(attachment: Attachment, { addresses }: KnownForwarding, { environment }: PortForwardingOptions): void {
  const chain = portForwardingChain(attachment.network, attachment.containerId)
  for (const found of placesWithChain('nat', chain, environment)) {
    const own = addresses?.map(({ address }) => address).filter(address => familyOf(address) === found.family)
    removeBlocks(found, environment, () => new Map([[chain, isOwnBlock(attachment.ifname, own)]]))
  }
}

/** Removes blocks and forgets the connections that they have led. @param select which, in which chains */
function removeBlocks(
  place: TablePlace,
  environment: Environment,
  select: (table: SavedTable) => ReadonlyMap<string, (block: Block) => boolean>,
): void {
  let removed: SavedRule[] = []
  const changed = changePlanned(place, environment, table => {
    removed = []
    const lines: string[] = []
    for (const [chain, isUnwanted] of select(table)) {
      lines.push(...replacementLines(table, { chain, rules: [], entries: [] }, isUnwanted))
      for (const block of blocksIn(table, chain)) if (isUnwanted(block)) removed.push(...block.rules)
    }
    return lines
  })
  const ports = changed ? forwardedBy(removed) : []
  if (ports.length === 0) return
  const netfilter = new NetlinkSocket(NetlinkProtocol.netfilter)
  try {
    forgetForwarded(netfilter, ports)
  } finally {
    netfilter.close()
  }
}

function gc(
  network: string,
  valid: readonly Pick<Attachment, 'containerId' | 'ifname'>[],
  { environment }: PortForwardingOptions,
): void {
  for (const found of placesWithChain('nat', DNAT, environment)) {
    removeBlocks(found, environment, table => {
      const chains = new Map<string, (block: Block) => boolean>()
      for (const containerId of containersIn(table, network)) {
        const interfaces = valid.filter(one => one.containerId === containerId).map(one => one.ifname)
        // Rules of the Go plugin do not tell the container's interfaces apart.
        const isStale = ({ owner }: Block) =>
          owner === undefined ? interfaces.length === 0 : !interfaces.includes(owner.ifname)
        const chain = portForwardingChain(network, containerId)
        if (interfaces.length === 0 || blocksIn(table, chain).some(isStale)) chains.set(chain, isStale)
      }
      return chains
    })
  }
}

/** The containers that the network has rules for, whoever made them. */
function containersIn(table: SavedTable, network: string): Set<string> {
  const containers = new Set<string>()
  for (const rule of table.rules) {
    if (rule.chain !== DNAT) continue
    const owner = ownerInPortForwardingComment(rule.comment ?? '')
    if (owner?.network === network) containers.add(owner.containerId)
  }
  return containers
}

function check(attachment: Attachment, forwarding: PortForwarding, { environment }: PortForwardingOptions): void {
  const failed = (message: string): CniError =>
    new CniError(
      ErrorCode.checkFailed,
      `port forwarding: ${message}`,
      'Something removed it, a firewall reload perhaps: create the container again.',
    )
  for (const { family, wanted } of wantedOfFamilies(attachment, forwarding)) {
    const table = readTable(place(family), environment)
    const missing = missingRule(table, forwarding, wanted)
    if (missing !== undefined) throw failed(`${programOf(family)} has no rule "${missing}" in table nat`)
    // The Go plugin has no guard.
    const isOurs = blocksIn(table, wanted.chain).some(({ owner }) => owner?.ifname === attachment.ifname)
    if (family === 4 && isOurs && forwarding.snat && !hasLoopbackGuard(environment)) {
      throw failed('iptables lets containers reach what listens on 127.0.0.1 of the host: its table raw has no guard')
    }
  }
}

/** The first rule that is not there; the Go plugin's are as good as ours. */
function missingRule(table: SavedTable, forwarding: PortForwarding, wanted: WantedPorts): string | undefined {
  const shared = missingShared(table, forwarding)[0]
  if (shared !== undefined) return shared.specification
  const present = new Set(table.rules.filter(rule => rule.chain === wanted.chain).map(meaningOf))
  for (const rule of wanted.rules) {
    if (rule.target === 'RETURN' || rule.target === undefined) continue
    if (!present.has(meaningOf(rule))) return rule.specification
  }
  const led = table.rules.filter(rule => rule.chain === DNAT && rule.target === wanted.chain).flatMap(portsOfEntry)
  return wanted.entries.find(entry => portsOfEntry(entry).some(port => !led.includes(port)))?.specification
}

/** With iptables-restore, once for each family and change. */
export const iptablesPortForwarding: PortForwardingCarrier = {
  add,
  check,
  delete: remove,
  gc,
  status: ({ environment }) => requirePrograms(environment),
}
