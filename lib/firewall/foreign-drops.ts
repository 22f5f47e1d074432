/**
 * Firewalls of the host that drop what is forwarded. In nftables a packet passes only if no table drops it: what cnikit
 * accepts in its own table does not help where Docker, ufw, firewalld or the operator's ruleset drops it in theirs.
 */

import type { Family } from '../address/address.ts'
import { CniError, ErrorCode } from '../cni/errors.ts'
import type { ChainName } from '../netlink/netfilter/chain.ts'
import type { NetlinkSocket } from '../netlink/socket.ts'
import type { ForwardingOptions } from './forwarding-intent.ts'
import { runProgram } from './iptables/program.ts'
import { hasLegacyTable, programOf } from './iptables/table.ts'
import { type ForwardDrop, forwardDrops, forwardDropsOf } from './nftables/dropping-chains.ts'
import { hasTable } from './nftables/ruleset.ts'
import { openNftables } from './nftables/socket.ts'

/** The firewalls of the host that matter to some addresses. */
export interface HostFirewalls {
  /** Whether firewalld filters what is forwarded. */
  readonly firewalld: boolean
  /** Chains of iptables that drop, as an operator names them. */
  readonly iptables: readonly string[]
  /** Those among them that the host's iptables does not change, being of the newer variant. */
  readonly outOfReach: readonly string[]
}

const iptablesChain = (family: Family): ChainName => ({
  family: family === 4 ? 'ip' : 'ip6',
  table: 'filter',
  chain: 'FORWARD',
})
/** Its policy is to accept; a rule at the end rejects. */
const firewalldChain: ChainName = { family: 'inet', table: 'firewalld', chain: 'filter_FORWARD' }

/** What is found by name, at the cost of one question. @param socket undefined where the kernel has no nftables */
export function findHostFirewalls(
  socket: NetlinkSocket | undefined,
  families: readonly Family[],
  options: ForwardingOptions,
): HostFirewalls {
  const chains = [firewalldChain, ...families.map(iptablesChain)]
  const drops = socket === undefined ? [] : forwardDropsOf(socket, chains)
  const legacy = families.filter(
    family => hasLegacyTable('filter', family) && dropsInIptables(family, 'legacy', options),
  )
  const nameOf = (family: Family): string => `${programOf(family)}-legacy FORWARD`
  return {
    firewalld: drops.some(({ table }) => table === firewalldChain.table),
    iptables: [...drops.filter(({ table }) => table !== firewalldChain.table).map(describe), ...legacy.map(nameOf)],
    outOfReach: legacy.filter(family => !dropsInIptables(family, 'default', options)).map(nameOf),
  }
}

/** Whether firewalld has a table here. */
export function hasFirewalld(): boolean {
  const socket = openNftables()
  try {
    return socket !== undefined && hasTable(socket, firewalldChain)
  } finally {
    socket?.close()
  }
}

/** `ip filter FORWARD` */
function describe({ family, table, chain }: ChainName): string {
  return `${family} ${table} ${chain}`
}

/**
 * Whether the program that prints the table prints one that drops: of the old iptables only its own can. A host without
 * the program is not kept from having containers.
 */
function dropsInIptables(family: Family, variant: 'legacy' | 'default', { environment }: ForwardingOptions): boolean {
  const name = programOf(family)
  const names = variant === 'legacy' ? [`${name}-legacy-save`, `${name}-save`] : [`${name}-save`]
  try {
    const saved = runProgram(names, { arguments: ['-t', 'filter'], environment })
    return /^:FORWARD DROP|^-A FORWARD -j (DROP|REJECT)/m.test(saved)
  } catch (error) {
    if (error instanceof CniError && error.code === ErrorCode.hostProgramFailed) return false
    throw error
  }
}

const known = [firewalldChain, iptablesChain(4), iptablesChain(6)].map(describe)

/**
 * Chains that drop and that no back end can do anything about: an operator's own ruleset, most often. Reads all chains of
 * the host.
 */
export function otherDrops(socket: NetlinkSocket): ForwardDrop[] {
  return forwardDrops(socket).filter(drop => !known.includes(describe(drop)))
}

/** What the operator has to do about such a chain. */
export function otherDropRemedy(drop: ForwardDrop): string {
  const add = `nft add rule ${describe(drop)}`
  return (
    'Each table decides for itself, and no other can overrule its drop: let the containers through there, before the rule ' +
    `or policy that drops, with "${add} iifname <bridge> accept" and ` +
    `"${add} oifname <bridge> ct state established,related accept".`
  )
}

/** The sentence about such a chain. */
export function otherDropMessage(drop: ForwardDrop): string {
  return `chain "${describe(drop)}" of nftables drops what is forwarded${drop.always ? '' : ' unless its own rules let it through'}`
}

/** What iptables cannot do anything about, in one sentence or none. */
export function outOfReachMessage({ outOfReach }: HostFirewalls): string | undefined {
  const [first] = outOfReach
  if (first === undefined) return undefined
  const program = first.slice(0, first.indexOf('-'))
  return (
    `"${first}" drops what is forwarded, and the host's "${program}" is the newer one, which does not change it: let that ` +
    `chain accept, or make the old one "${program}" ("update-alternatives --set ${program} /usr/sbin/${program}-legacy")`
  )
}

/** @throws CniError when nftables was asked for by name, and something drops what it would let through */
export function refuseDropped({ firewalld, iptables }: HostFirewalls): void {
  const refuse = (message: string, remedy: string): never => {
    throw new CniError(ErrorCode.conflict, message, remedy)
  }
  if (iptables.length > 0) {
    refuse(
      `"backend" is "nftables", but ${iptables.map(chain => `"${chain}"`).join(' and ')} ${iptables.length > 1 ? 'drop' : 'drops'} what is forwarded`,
      'No rule in another table can overrule that. Remove "backend", or set "iptables": the rules then go into the same ' +
        'table. Or let that chain accept by default: Docker, ufw or whoever made it has a setting for it.',
    )
  }
  if (firewalld) {
    refuse(
      '"backend" is "nftables", but firewalld rejects what is forwarded',
      'No rule in another table can overrule that. Remove "backend", or set "firewalld": the addresses are then put into ' +
        'the zone "firewalldZone" names ("trusted").',
    )
  }
}
