/** Who else is at the tunnels' UDP ports. */

import { NetlinkError } from '../../lib/netlink/error.ts'
import { listLinks } from '../../lib/netlink/route/link/index.ts'
import { type BoundSocket, listBoundSockets } from '../../lib/netlink/sock-diag/index.ts'
import { NetlinkProtocol, NetlinkSocket } from '../../lib/netlink/socket.ts'
import { Errno } from '../../lib/sys/errno.ts'
import { controlGroupPath, findSocketOwners } from '../../lib/sys/socket-owner.ts'
import { type Finding, shortList } from './finding.ts'

/**
 * @param ports of networks that are here or are to be
 * @param own those of networks that are here: their sockets are the kernel's, and theirs
 */
export function checkTunnelPorts(host: NetlinkSocket, ports: readonly number[], own: ReadonlySet<number>): Finding[] {
  const others = listLinks(host, { kind: 'vxlan' })
  const findings: Finding[] = []
  const sockets = socketsAt(ports)
  const owners = findSocketOwners(new Set(sockets.map(({ inode }) => inode)))
  for (const port of ports) {
    const here = sockets.filter(one => one.port === port)
    const programs = here.flatMap(({ inode, cgroupId }) => {
      const owner = owners.get(inode)
      if (owner === undefined) return []
      const group = owner.controlGroup ?? controlGroupPath(cgroupId)
      return [{ ...owner, name: `${owner.command} (process ${owner.pid}${group === undefined ? '' : `, ${group}`})` }]
    })
    for (const { name, pid } of programs)
      findings.push({
        gravity: 'error',
        what: `UDP port ${port} of the tunnels is taken by ${name}`,
        remedy: `kill ${pid}, or stop its service; or give the network another "port" on all hosts`,
      })
    const sharing = others.filter(({ vxlan }) => vxlan?.port === port)
    if (sharing.length > 0)
      findings.push({
        gravity: 'hint',
        what: `UDP port ${port} is shared with other tunnels: ${shortList(sharing.map(({ name, vxlan }) => `${name} (VNI ${vxlan?.id})`))}`,
        remedy: 'nothing to do as long as no network has one of these VNIs; the peer filter leaves them alone',
      })
    if (here.length > 0 && programs.length === 0 && sharing.length === 0 && !own.has(port))
      findings.push({
        gravity: 'error',
        what: `UDP port ${port} of the tunnels is taken by a tunnel in a namespace without a name, or a process that cannot be seen from here`,
        remedy: `ss -ulpn sport = :${port}; lsns -t net`,
      })
  }
  return findings
}

/** None where the kernel cannot tell (udp_diag). */
function socketsAt(ports: readonly number[]): readonly BoundSocket[] {
  const diagnostics = new NetlinkSocket(NetlinkProtocol.sockDiag)
  try {
    return listBoundSockets(diagnostics, 'udp', ports)
  } catch (error) {
    if (error instanceof NetlinkError && error.errno === Errno.ENOENT) return []
    throw error
  } finally {
    diagnostics.close()
  }
}
