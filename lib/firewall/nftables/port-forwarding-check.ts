/** CHECK: whether the attachment's port forwarding is as ADD left it. */

import { equalAddresses, formatAddress } from '../../address/address.ts'
import { CniError, ErrorCode } from '../../cni/errors.ts'
import type { NetlinkSocket } from '../../netlink/socket.ts'
import type { Attachment } from '../attachment.ts'
import type { PortForwarding } from '../port-forwarding-intent.ts'
import { hasChain } from './declared-structure.ts'
import { ipFamily } from './layout.ts'
import { claimsOf, type PortClaim } from './port-forwarding-elements.ts'
import { findHoldings, type Holding, isFor } from './port-forwarding-holders.ts'
import { fixedChains, portMaps, portmapTable, postroutingChain } from './port-forwarding-objects.ts'
import { isOfContainer, ownerComment, ownerPrefix, readOwner } from './port-forwarding-owner.ts'
import { sourceClaims } from './port-forwarding-sources.ts'
import { elementFault, setNames } from './ruleset.ts'

const where = `nftables table "${portmapTable.family} ${portmapTable.table}"`

/** @throws CniError code 105 naming what is missing */
export function checkNftables(socket: NetlinkSocket, attachment: Attachment, forwarding: PortForwarding): void {
  const fault = faultOf(socket, attachment, forwarding)
  if (fault === undefined) return
  throw new CniError(
    ErrorCode.checkFailed,
    fault,
    'Something removed it, "nft flush ruleset" or a firewall reload perhaps: create the container again.',
  )
}

function faultOf(socket: NetlinkSocket, attachment: Attachment, forwarding: PortForwarding): string | undefined {
  const present = setNames(socket, portmapTable)
  const missing = portMaps.find(({ set }) => !present.includes(set))
  if (missing !== undefined) return `port forwarding: map "${missing.set}" is gone from ${where}`
  const broken = fixedChains().find(chain => !hasChain(socket, portmapTable, chain))
  if (broken !== undefined) return `port forwarding: chain "${broken.chain}" is gone from ${where}, or has other rules`
  const claims = claimsOf(
    forwarding.mappings,
    forwarding.addresses.map(({ address }) => ipFamily(address)),
  )
  const holdings = findHoldings(socket, claims)
  for (const claim of claims) {
    const fault = claimFault(
      claim,
      holdings.find(holding => isFor(holding, claim)),
      attachment,
      forwarding,
    )
    if (fault !== undefined) return `${portsOf(claim)}: ${fault} in ${where}`
  }
  const comment = ownerComment(attachment, forwarding.namespace)
  for (const { set, element } of sourceClaims(attachment.network, forwarding, comment)) {
    const fault = elementFault(socket, postroutingChain, { set: set.set, key: element.key, comment })
    if (fault !== undefined) return `masquerade for published ports: ${fault}`
  }
  return undefined
}

function claimFault(
  claim: PortClaim,
  holding: Holding | undefined,
  attachment: Attachment,
  { addresses }: PortForwarding,
): string | undefined {
  const forwarded = holding?.forwarded
  if (holding === undefined || forwarded === undefined) return 'no map has it'
  const { comment } = holding.element
  if (!isOfContainer(readOwner(comment), attachment))
    return `its element is another's (${comment ?? 'nobody says whose'})`
  // Of several networks of a container that publish a port, the first has it.
  if (!comment?.startsWith(ownerPrefix(attachment))) return undefined
  const container = addresses.find(({ address }) => ipFamily(address) === claim.family)?.address
  if (container === undefined || !equalAddresses(forwarded.container, container)) {
    return `it leads to ${formatAddress(forwarded.container)}`
  }
  return forwarded.containerPort === claim.containerPort ? undefined : `it leads to port ${forwarded.containerPort}`
}

function portsOf({ transport, first, last, hostAddress }: PortClaim): string {
  const ports = first === last ? `port ${first}` : `ports ${first}-${last}`
  return `${transport.toUpperCase()} ${ports}${hostAddress === undefined ? '' : ` of ${formatAddress(hostAddress)}`}`
}
