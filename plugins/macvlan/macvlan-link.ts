/** The container's interface: made in its namespace, under its final name. */

import { formatMac, randomMac } from '../../lib/address/mac.ts'
import type { Sockets } from '../../lib/attachment/sockets.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import { toCniError } from '../../lib/cni/failure.ts'
import { linkAlias } from '../../lib/cni/names.ts'
import type { Transaction } from '../../lib/cni/transaction.ts'
import type { AttachmentRequest } from '../../lib/cni/types.ts'
import { addLinkRequest, deleteLink, type Link, setLink } from '../../lib/netlink/route/link/index.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import { Errno } from '../../lib/sys/errno.ts'
import type { MacvlanConfig } from './config.ts'
import { findUser } from './master-users.ts'

/** Where the master is. */
export function masterSocket({ host, container }: Sockets, { linkInContainer }: MacvlanConfig): NetlinkSocket {
  return linkInContainer ? container : host
}

export function createMacvlan(
  transaction: Transaction,
  sockets: Sockets,
  request: AttachmentRequest,
  config: MacvlanConfig,
  master: Link,
): void {
  const { ifname: name } = request
  const { mode, mtu, mac, broadcastQueueLength } = config
  const { container } = sockets
  const remove = () => deleteLink(container, { name }, { missing: 'ignore' })
  transaction.step(
    `create macvlan "${name}" on "${master.name}"`,
    () => {
      const creation = addLinkRequest({
        name,
        kind: 'macvlan',
        parent: master.index,
        mac: mac ?? randomMac(),
        mtu: mtu > 0 ? mtu : undefined,
        namespace: config.linkInContainer ? undefined : sockets.namespace.fd,
        macvlan: { mode, ...(broadcastQueueLength > 0 ? { bcQueueLen: broadcastQueueLength } : {}) },
      })
      try {
        masterSocket(sockets, config).execute(creation)
      } catch (error) {
        throw explainRefusal(error, sockets, config, master)
      }
      try {
        const alias = linkAlias(request.network, request.containerId, request.ifname)
        // With passthru the kernel gives the link its master's address, whatever the request says; later it gives the
        // master the link's, and takes it back with the link.
        setLink(container, { name, alias, mac: mode === 'passthru' ? mac : undefined })
      } catch (error) {
        remove()
        throw error
      }
    },
    remove,
  )
}

/** The kernel's reasons are numbers alone: who is in the way has to be found out. */
function explainRefusal(error: unknown, sockets: Sockets, config: MacvlanConfig, { index, name }: Link): unknown {
  const { errno } = error as { errno?: number }
  if (errno === Errno.EOPNOTSUPP) return missingKernelSupport(error)
  if (errno === Errno.ENODEV) {
    return new CniError(ErrorCode.tryAgainLater, `master "${name}" vanished`, undefined, { cause: error })
  }
  if (errno !== Errno.EINVAL && errno !== Errno.EBUSY) return error
  const user = findUser(index, config.linkInContainer ? sockets.namespace : undefined)
  if (user === undefined && errno === Errno.EINVAL) {
    const remedy = `a link in a namespace that cannot be found may be on master "${name}", in mode "passthru" or in the way of it`
    return new CniError(ErrorCode.kernel, toCniError(error).message, remedy, { cause: error })
  }
  const by = user?.description ?? 'by another link, which cannot be found'
  const message =
    errno === Errno.EBUSY
      ? `master "${name}" is taken ${by}`
      : user?.mode === 'passthru'
        ? `master "${name}" is taken in passthru mode ${by}`
        : `mode "passthru" needs master "${name}" for itself, but it is in use ${by}`
  return new CniError(
    ErrorCode.conflict,
    message,
    'remove the other attachment, or choose another "master" or "mode"',
    { cause: error },
  )
}

export function missingKernelSupport(cause: unknown): CniError {
  return new CniError(
    ErrorCode.kernelFeatureMissing,
    'the kernel has no macvlan',
    '"modprobe macvlan" loads it; a kernel without needs CONFIG_MACVLAN',
    { cause },
  )
}

/** Why the container's interface cannot be brought up: the the kernel looks for duplicates on the master then. */
export function explainAddressInUse(error: unknown, { mac }: MacvlanConfig, master: Link): unknown {
  if ((error as { errno?: number }).errno !== Errno.EADDRINUSE || mac === undefined) return error
  return new CniError(
    ErrorCode.addressInUse,
    `MAC address ${formatMac(mac)} is that of master "${master.name}" or of another macvlan on it`,
    'ask for another one, or for none',
    { cause: error },
  )
}
