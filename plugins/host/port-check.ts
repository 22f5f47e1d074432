/** ADD's look at the ports that the container is to have: whether they are the host's, and free. */

import { formatAddress, type IpAddress, isUnspecified } from '../../lib/address/address.ts'
import { describeHostPort, type HostPort, shareAddress } from '../../lib/attachment/host-port.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import { NetlinkError } from '../../lib/netlink/error.ts'
import { getLink } from '../../lib/netlink/route/link/index.ts'
import { getRoute } from '../../lib/netlink/route/route/index.ts'
import { type BoundSocket, listBoundSockets, type Transport } from '../../lib/netlink/sock-diag/index.ts'
import { NetlinkProtocol, NetlinkSocket } from '../../lib/netlink/socket.ts'
import { readSysctlIfExists } from '../../lib/netns/sysctl.ts'
import { Errno } from '../../lib/sys/errno.ts'
import { statusOf } from '../../lib/sys/file.ts'
import { controlGroupPath, findSocketOwners, type SocketOwner } from '../../lib/sys/socket-owner.ts'

/** How many conflicts an error lists beside the first. */
const LISTED_CONFLICTS = 9

interface Conflict {
  readonly mapping: HostPort
  readonly taken: BoundSocket
}

/**
 * Refuses ports that a socket of the host listens on. A listening socket that is made later is not kept away: as without
 * CNI, the second to come gets EADDRINUSE.
 * @param route a route socket of the host
 * @throws CniError code 104, or 7 for an address that is not the host's
 */
export function refuseTakenPorts(route: NetlinkSocket, mappings: readonly HostPort[]): void {
  if (mappings.length === 0) return
  refuseForeignAddresses(route, mappings)
  const conflicts = findConflicts(mappings)
  const [first, ...others] = conflicts
  if (first === undefined) return
  const owners = findSocketOwners(new Set(conflicts.map(({ taken }) => taken.inode)))
  const say = (conflict: Conflict) => describeConflict(route, conflict, owners.get(conflict.taken.inode))
  const listed = others.slice(0, LISTED_CONFLICTS).map(conflict => `also: ${say(conflict)}`)
  if (others.length > LISTED_CONFLICTS) listed.push(`and ${others.length - LISTED_CONFLICTS} more`)
  throw new CniError(
    ErrorCode.conflict,
    say(first),
    [remedy(first.taken, owners.get(first.taken.inode)), ...listed].join('\n'),
  )
}

function findConflicts(mappings: readonly HostPort[]): Conflict[] {
  const conflicts: Conflict[] = []
  const diagnostics = new NetlinkSocket(NetlinkProtocol.sockDiag)
  try {
    for (const transport of ['tcp', 'udp', 'sctp'] as const) {
      const wanted = mappings.filter(mapping => mapping.transport === transport)
      const sockets = wanted.length === 0 ? [] : listSockets(diagnostics, transport, wanted)
      for (const mapping of sockets.length === 0 ? [] : wanted) {
        const taken = sockets.find(one => one.port === mapping.port && shareAddress(mapping.address, takenAddress(one)))
        if (taken !== undefined) conflicts.push({ mapping, taken })
      }
    }
  } finally {
    diagnostics.close()
  }
  return conflicts
}

/** @throws CniError code 101 for a kernel that does not tell */
function listSockets(
  diagnostics: NetlinkSocket,
  transport: Transport,
  wanted: readonly HostPort[],
): readonly BoundSocket[] {
  // Asking would make the kernel load SCTP, which has no sockets as long as it is not there.
  if (transport === 'sctp' && statusOf('/proc/net/sctp') === undefined) return []
  try {
    return listBoundSockets(
      diagnostics,
      transport,
      wanted.map(({ port }) => port),
    )
  } catch (error) {
    if (!(error instanceof NetlinkError) || error.errno !== Errno.ENOENT) throw error
    throw new CniError(
      ErrorCode.kernelFeatureMissing,
      `the kernel does not tell which ${transport.toUpperCase()} ports are taken: it lacks ${transport}_diag`,
      `"modprobe ${transport}_diag" loads it; or leave "portMappings" out of the capabilities`,
      { cause: error },
    )
  }
}

/** Undefined for a socket that takes what comes to any address of either family. */
function takenAddress({ address, v6Only }: BoundSocket): IpAddress | undefined {
  return address.length === 16 && !v6Only && isUnspecified(address) ? undefined : address
}

/** Nobody could listen there. The kernel's own table says what it takes as local, so that 127.0.0.0/8 and AnyIP work. */
function refuseForeignAddresses(route: NetlinkSocket, mappings: readonly HostPort[]): void {
  const asked = new Set<string>()
  for (const { address } of mappings) {
    if (address === undefined || isUnspecified(address)) continue
    const text = formatAddress(address)
    if (asked.has(text)) continue
    asked.add(text)
    const type = getRoute(route, { destination: address })?.type
    if (type === 'local' || type === 'broadcast' || type === 'multicast' || mayBindForeign(address)) continue
    throw new CniError(
      ErrorCode.invalidNetworkConfig,
      `runtimeConfig.portMappings: hostIP ${text} is no address of the host`,
      'give one of its addresses, or leave the key out for all of them; where the address comes and goes (VRRP), set the sysctl ip_nonlocal_bind',
    )
  }
}

function mayBindForeign(address: IpAddress): boolean {
  return readSysctlIfExists(`net/${address.length === 4 ? 'ipv4' : 'ipv6'}/ip_nonlocal_bind`) === '1'
}

function describeConflict(route: NetlinkSocket, { mapping, taken }: Conflict, owner: SocketOwner | undefined): string {
  const holder =
    owner === undefined
      ? `by a socket that no process here has (user ${taken.uid}, inode ${taken.inode})`
      : `by process ${owner.pid} (${owner.command})`
  const verb = taken.transport === 'udp' ? 'is bound to' : 'listens on'
  return `${describeHostPort(mapping)} is taken ${holder}, which ${verb} ${describeEndpoint(route, taken)}`
}

/** As ss(8) writes it: "0.0.0.0:80", "[::]:80", "0.0.0.0%eth1:80". */
function describeEndpoint(route: NetlinkSocket, { address, port, index }: BoundSocket): string {
  const text = formatAddress(address)
  const link = index === undefined ? '' : `%${getLink(route, { index })?.name ?? index}`
  return address.length === 4 ? `${text}${link}:${port}` : `[${text}]${link}:${port}`
}

function remedy(taken: BoundSocket, owner: SocketOwner | undefined): string {
  const way = 'have the container listen on another port'
  const group = owner === undefined ? controlGroupPath(taken.cgroupId) : owner.controlGroup
  const place = group === undefined ? '' : ` in control group ${group}`
  if (owner !== undefined) return `end the process${place}, or ${way}`
  return `the kernel itself (VXLAN, WireGuard, NFS) or a process of another PID namespace has it${place}; end its use, or ${way}`
}
