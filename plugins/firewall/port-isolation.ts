/**
 * The port of a container on its bridge, kept from other such ports. What stays on the bridge is not forwarded by the host:
 * chains see it only where the sysctl bridge-nf-call-iptables is set, and then in one family at a time.
 */

import { withHostSocket } from '../../lib/attachment/sockets.ts'
import { type Link, setLink } from '../../lib/netlink/route/link/index.ts'

/** Whether the bridge keeps it from other isolated ports. */
export function isIsolated(port: Link): boolean {
  return port.bridgePort?.isolated === true
}

/** `bridge link set dev PORT isolated on`. A port that is gone takes it along. @throws NetlinkError */
export function isolatePort({ index }: Link, isolated: boolean): void {
  withHostSocket(host => setLink(host, { index, bridgePort: { isolated } }))
}
