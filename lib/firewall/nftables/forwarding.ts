/** Forwarding with nftables. forwarding-objects.ts shows the table. */

import { formatAddress, type IpAddress } from '../../address/address.ts'
import { CniError, ErrorCode } from '../../cni/errors.ts'
import { deleteElements } from '../../netlink/netfilter/element.ts'
import type { NetlinkSocket } from '../../netlink/socket.ts'
import type { Attachment } from '../attachment.ts'
import type { Forwarding, ForwardingCarrier } from '../forwarding-intent.ts'
import { claimDeletions, missingClaims } from './claims.ts'
import { gcForwarding } from './forwarding-gc.ts'
import { addIngress, ingressFault } from './forwarding-ingress.ts'
import {
  acceptedClaims,
  acceptedSetPrefix,
  firewallTable,
  forwardChain,
  forwardingCreation,
} from './forwarding-objects.ts'
import { createAccepted, missingStructure, structureFault } from './forwarding-structure.ts'
import { ownerComment } from './layout.ts'
import { elementFault, elementsOfSet, setNames } from './ruleset.ts'
import { openNftables, requireNftables } from './socket.ts'
import { applyPlanned, createMissing } from './transaction.ts'

function withNftables<T>(socket: NetlinkSocket, use: (socket: NetlinkSocket) => T): T {
  try {
    return use(socket)
  } finally {
    socket.close()
  }
}

const required = (): NetlinkSocket => requireNftables('firewall with nftables', 'set "backend": "iptables"')

export const nftablesForwarding: ForwardingCarrier = {
  add(attachment, forwarding) {
    return withNftables(required(), socket => add(socket, attachment, forwarding))
  },
  check(attachment, forwarding) {
    withNftables(required(), socket => check(socket, attachment, forwarding))
  },
  delete(attachment, addresses) {
    const socket = openNftables()
    if (socket !== undefined) withNftables(socket, () => deleteFrom(socket, attachment, addresses))
  },
  gc(network, valid) {
    const socket = openNftables()
    if (socket !== undefined) withNftables(socket, () => gcForwarding(socket, network, valid))
  },
  status() {
    required().close()
  },
}

function add(socket: NetlinkSocket, attachment: Attachment, { addresses, ingress }: Forwarding): boolean {
  if (ingress !== undefined) addIngress(socket, attachment.network, ingress)
  const claims = acceptedClaims(attachment, addresses)
  let added = false
  createMissing(socket, forwardingCreation, () => {
    const changes = missingClaims(socket, claims, withoutSet => [
      ...missingStructure(socket),
      ...withoutSet.flatMap(({ set }) => createAccepted(set)),
    ])
    added = changes.length > 0
    return changes
  })
  return added
}

function check(socket: NetlinkSocket, attachment: Attachment, { addresses, ingress }: Forwarding): void {
  const fail = (message: string): never => {
    throw new CniError(
      ErrorCode.checkFailed,
      message,
      'Something removed it, "nft flush ruleset" or a firewall reload perhaps: create the container again.',
    )
  }
  for (const { set, element } of acceptedClaims(attachment, addresses)) {
    const fault = elementFault(socket, forwardChain, { set: set.set, key: element.key, comment: element.comment })
    if (fault !== undefined) fail(`forwarding for ${formatAddress(Uint8Array.from(element.key))}: ${fault}`)
  }
  const table = `nftables table "${firewallTable.family} ${firewallTable.table}"`
  const damage = structureFault(socket)
  if (damage !== undefined) fail(`firewall: ${damage} in ${table}`)
  const fault = ingress && ingressFault(socket, attachment.network, ingress)
  if (fault !== undefined) fail(`ingress policy "${ingress?.policy}": ${fault} in ${table}`)
}

/** Table, chains and sets stay for the next ADD; GC removes them. */
function deleteFrom(socket: NetlinkSocket, attachment: Attachment, addresses: readonly IpAddress[] | undefined): void {
  applyPlanned(socket, 'delete forwarding', () => {
    const known = addresses?.length ? claimDeletions(socket, acceptedClaims(attachment, addresses)) : undefined
    if (known !== undefined) return known
    const owner = ownerComment(attachment)
    const prefix = acceptedSetPrefix(attachment.network)
    return setNames(socket, firewallTable)
      .filter(name => name.startsWith(prefix))
      .flatMap(name => {
        const set = { ...firewallTable, set: name }
        const owned = elementsOfSet(socket, set).filter(({ comment }) => comment === owner)
        return owned.length === 0 ? [] : [deleteElements(set, owned)]
      })
  })
}
