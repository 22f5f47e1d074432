/** The loopback plugin: brings up the container's loopback interface, which is there in every namespace. */

import { type Family, formatAddress } from '../../lib/address/address.ts'
import { formatPrefix } from '../../lib/address/prefix.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import { runTransaction } from '../../lib/cni/transaction.ts'
import { type AttachmentRequest, cniVersions, type Plugin, type Result } from '../../lib/cni/types.ts'
import { type Address, listAddresses } from '../../lib/netlink/route/addr/index.ts'
import { getLink, type Link, setLink } from '../../lib/netlink/route/link/index.ts'
import { NetlinkProtocol, type NetlinkSocket } from '../../lib/netlink/socket.ts'
import { type NetworkNamespace, openNamespace, openNamespaceIfExists } from '../../lib/netns/index.ts'

/** Whatever CNI_IFNAME says: the kernel has one, of this name. */
const LOOPBACK = 'lo'

function withSocket<T>(namespace: NetworkNamespace, use: (socket: NetlinkSocket) => T): T {
  try {
    return namespace.withSocket(NetlinkProtocol.route, use)
  } finally {
    namespace.close()
  }
}

function findLoopback(socket: NetlinkSocket, netns: string): Link {
  const link = getLink(socket, { name: LOOPBACK })
  if (link?.loopback) return link
  throw new CniError(
    ErrorCode.conflict,
    `the namespace ${JSON.stringify(netns)} has no loopback interface "${LOOPBACK}"`,
    'give the container a namespace of its own, in which nobody has renamed it',
  )
}

/** 127.0.0.0/8 or ::1 */
function isLoopbackAddress({ prefix: { address } }: Address): boolean {
  return address.length === 4 ? address[0] === 127 : address.every((byte, index) => byte === (index === 15 ? 1 : 0))
}

/** @throws CniError for an address that would be reachable on the interface of every other container too */
function loopbackAddresses(socket: NetlinkSocket, link: Link): Address[] {
  const addresses = listAddresses(socket, { index: link.index })
  const foreign = addresses.find(address => !isLoopbackAddress(address))
  if (foreign === undefined) return addresses
  throw new CniError(
    ErrorCode.conflict,
    `loopback interface found with non-loopback address "${formatAddress(foreign.prefix.address)}"`,
    `remove it: ip address delete ${formatPrefix(foreign.prefix)} dev ${LOOPBACK}`,
  )
}

function add(request: AttachmentRequest): Result {
  return withSocket(openNamespace(request.netns), socket => {
    const link = findLoopback(socket, request.netns)
    loopbackAddresses(socket, link)
    return runTransaction(request.environment, transaction => {
      if (!link.up) {
        transaction.step(
          `bring up "${LOOPBACK}"`,
          () => setLink(socket, { index: link.index, up: true }),
          () => setLink(socket, { index: link.index, up: false }),
        )
      }
      // In a chain, the result of the plugin before this one goes through as it is.
      return request.prevResult ?? resultOf(loopbackAddresses(socket, link), request.netns)
    })
  })
}

/** The first address of each family; the kernel has put them there when the link came up. */
function resultOf(addresses: readonly Address[], netns: string): Result {
  const firstOf = (family: Family) => addresses.filter(address => address.family === family).slice(0, 1)
  const ips = [...firstOf(4), ...firstOf(6)].map(({ prefix }) => ({ interface: 0, address: formatPrefix(prefix) }))
  return {
    interfaces: [{ name: LOOPBACK, mac: '00:00:00:00:00:00', sandbox: netns }],
    ...(ips.length > 0 && { ips }),
  }
}

function del({ netns }: AttachmentRequest): void {
  const namespace = openNamespaceIfExists(netns)
  if (namespace === undefined) return
  withSocket(namespace, socket => {
    const link = getLink(socket, { name: LOOPBACK })
    if (link?.loopback) setLink(socket, { index: link.index, up: false })
  })
}

function check(request: AttachmentRequest): void {
  withSocket(openNamespace(request.netns), socket => {
    if (findLoopback(socket, request.netns).up) return
    throw new CniError(ErrorCode.checkFailed, 'loopback interface is down', `bring it up: ip link set ${LOOPBACK} up`)
  })
}

export const loopback: Plugin = {
  name: 'loopback',
  about: 'loopback: brings up the loopback interface of a container',
  supportedVersions: cniVersions,
  add,
  del,
  check,
  // A namespace takes its loopback interface along.
  gc() {},
  status() {},
}
