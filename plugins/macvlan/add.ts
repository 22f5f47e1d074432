/** ADD: a macvlan in the container, addresses, routes, and the host's way to it. */

import { deriveAddressing } from '../../lib/attachment/addressing.ts'
import { bringUpInterface, configureInterface, refuseExistingInterface } from '../../lib/attachment/interface.ts'
import { addressAndLink, allocateAddresses } from '../../lib/attachment/ipam.ts'
import {
  type Addressed,
  composeResult,
  describeInterface,
  refuseWithoutAddresses,
} from '../../lib/attachment/result.ts'
import { type Sockets, withSockets } from '../../lib/attachment/sockets.ts'
import { warn } from '../../lib/attachment/warning.ts'
import { runTransaction, type Transaction } from '../../lib/cni/transaction.ts'
import type { AttachmentRequest, Result } from '../../lib/cni/types.ts'
import type { Link } from '../../lib/netlink/route/link/index.ts'
import { type MacvlanConfig, parseMacvlanConfig } from './config.ts'
import { HostAccess } from './host-access.ts'
import { createMacvlan, explainAddressInUse, masterSocket } from './macvlan-link.ts'
import { checkMaster } from './master.ts'
import { Master } from './vlan-master.ts'

export function add(request: AttachmentRequest): Result {
  const config = parseMacvlanConfig(request)
  refuseWithoutAddresses(request, config.ipamType)
  return withSockets(request.netns, sockets => {
    refuseExistingInterface(sockets.container, request.ifname, request.netns)
    return runTransaction(request.environment, transaction => build(transaction, request, config, sockets))
  })
}

function build(transaction: Transaction, request: AttachmentRequest, config: MacvlanConfig, sockets: Sockets): Result {
  const shared = new Master(masterSocket(sockets, config), config)
  const master = shared.use(transaction)
  checkMaster(masterSocket(sockets, config), master, config)

  const address = (type: string): Addressed => {
    const ipam = allocateAddresses(transaction, request, type)
    return { ipam, addressing: deriveAddressing(ipam) }
  }
  const { addressed } = addressAndLink(request, config.ipamType, address, () => {
    createMacvlan(transaction, sockets, request, config, master)
    shared.release()
  })

  const link = bringUp(transaction, request, config, sockets, { addressed, master })
  if (!master.up) warn(request, `master "${master.name}" is down: nothing reaches the container until it is up`)
  const interfaces = [describeInterface(link, request.netns)]
  if (config.hostAccess && addressed !== undefined) {
    const access = new HostAccess(sockets.host, request.network, request)
    const addresses = addressed.addressing.addresses.map(prefix => prefix.address)
    interfaces.push(describeInterface(access.grant(transaction, sockets.container, { link, master, addresses })))
  }
  return composeResult(interfaces, CONTAINER_INTERFACE, addressed, config.dns)
}

/** Addresses and routes, if any, and the link up. */
function bringUp(
  transaction: Transaction,
  { ifname }: AttachmentRequest,
  config: MacvlanConfig,
  { container, namespace }: Sockets,
  { addressed, master }: { addressed: Addressed | undefined; master: Link },
): Link {
  return transaction.step(`configure "${ifname}"`, () => {
    try {
      if (addressed === undefined) return bringUpInterface(container, ifname)
      const { duplicateAddressDetection } = config
      const options = { duplicateAddressDetection, announceIpv6: true }
      return configureInterface(container, namespace, ifname, addressed.addressing, options)
    } catch (error) {
      throw explainAddressInUse(error, config, master)
    }
  })
}

/** Where the container's interface stands among those of the result. */
const CONTAINER_INTERFACE = 0
