/**
 * The host's way to its containers. The kernel lets no packet pass between a master and the macvlans on it; a macvlan of
 * the host's own on the same master reaches them, and is reached:
 *
 *     host: 10.1.0.5/32 dev shim0123456789a src 192.168.1.10, and the neighbour 10.1.0.5 with the container's MAC
 *     container: 192.168.1.10/32 dev eth0, and the neighbour 192.168.1.10 with the shim's MAC
 *
 * The link has no address and takes no part in ARP or neighbour discovery, and so it never answers, or asks, in the
 * host's name: everybody else on the network goes on finding the host at the master's MAC address. There is one for each
 * network, and its routes are the record of its users: the number of the attachment is the route's metric.
 */

import { equalAddresses, familyOf, formatAddress, type IpAddress } from '../../lib/address/address.ts'
import { formatMac, type MacAddress, macFromHex } from '../../lib/address/mac.ts'
import { failCheck } from '../../lib/attachment/check.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import { attachmentNumber, hostAccessName, linkAliasPrefix } from '../../lib/cni/names.ts'
import type { Transaction } from '../../lib/cni/transaction.ts'
import type { AttachmentId } from '../../lib/cni/types.ts'
import { addLinkRequest, deleteLink, getLink, type Link, setLinkRequest } from '../../lib/netlink/route/link/index.ts'
import { deleteNeighbourRequest, listNeighbours, replaceNeighbourRequest } from '../../lib/netlink/route/neigh/index.ts'
import {
  deleteRouteRequest,
  getRoute,
  listRoutes,
  type Route,
  RouteTable,
  replaceRouteRequest,
} from '../../lib/netlink/route/route/index.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import { shareNamespaceLock, withNamespaceLock } from '../../lib/netns/namespace-lock.ts'
import { Errno } from '../../lib/sys/errno.ts'
import { close } from '../../lib/sys/file.ts'
import { sha512 } from '../../lib/sys/host.ts'
import { lowerIndex } from './master.ts'

/** The container's end, as the host has to know it. */
export interface Destination {
  /** The container's interface. */
  readonly link: Link
  readonly master: Link
  readonly addresses: readonly IpAddress[]
}

const prefixOf = (address: IpAddress) => ({ address, length: address.length * 8 })

/** The alias of a network's link: as those of its attachments begin, but without one. */
const aliasOf = (network: string) => `${linkAliasPrefix(network)}host access`

export class HostAccess {
  readonly #host: NetlinkSocket
  readonly #network: string
  readonly #name: string
  /** Of the attachment; undefined where a whole network is concerned. */
  readonly #metric: number | undefined
  #lock: number | undefined

  constructor(host: NetlinkSocket, network: string, attachment?: AttachmentId) {
    this.#host = host
    this.#network = network
    this.#name = hostAccessName(network)
    this.#metric = attachment && attachmentNumber(network, attachment.containerId, attachment.ifname)
  }

  /** Makes the way there and back. @returns the host's link @throws CniError code 104 */
  grant(transaction: Transaction, container: NetlinkSocket, destination: Destination): Link {
    const sources = this.#sources(destination.addresses)
    const shim = transaction.step(
      `give the host a link "${this.#name}" on "${destination.master.name}"`,
      () => {
        this.#lock = shareNamespaceLock()
        try {
          return this.#findOrMake(destination.master)
        } catch (error) {
          this.#leave()
          throw error
        }
      },
      () => this.#leave(),
    )
    transaction.step(
      'give the host routes to the container',
      () => this.#addRoutes(shim, destination.link, sources),
      () => this.#removeRoutes(shim, metric => metric === this.#metric),
    )
    this.#release()
    // No inverse: all of it goes with the container's link.
    transaction.step('give the container routes to the host', () =>
      answerTo(container, destination.link, shim, sources),
    )
    return shim
  }

  /** Takes the way away, whatever is there of it; the link goes with the last. */
  revoke(): void {
    this.#removeUnless(metric => metric !== this.#metric)
  }

  /** Takes away the ways of all attachments but these. */
  keepOnly(attachments: readonly AttachmentId[]): void {
    const network = this.#network
    const valid = new Set(attachments.map(({ containerId, ifname }) => attachmentNumber(network, containerId, ifname)))
    this.#removeUnless(metric => valid.has(metric))
  }

  /** @throws CniError code 105 */
  check(container: NetlinkSocket, { link, master, addresses }: Destination): void {
    const shim = this.#find()
    if (shim === undefined) failCheck(`the host's link "${this.#name}" to its containers is gone`)
    if (!shim.up) failCheck(`the host's link "${shim.name}" is down`, `"ip link set ${shim.name} up" brings it back`)
    if (shim.parent !== lowerIndex(master)) failCheck(`the host's link "${shim.name}" is not on "${master.name}"`)
    const routes = this.#routesTo(shim).filter(({ priority }) => priority === this.#metric)
    for (const address of addresses) {
      const found = routes.some(({ destination }) => equalAddresses(destination.address, address))
      // None was made where the host has no address of the family.
      if (!found && getRoute(this.#host, { destination: address })?.preferredSource !== undefined) {
        failCheck(`the host has lost its route to ${formatAddress(address)} through "${shim.name}"`)
      }
    }
    for (const { destination, preferredSource } of routes) {
      const { address } = destination
      if (!addresses.some(one => equalAddresses(one, address))) {
        failCheck(`the host has a route to ${formatAddress(address)}, which the container does not have`)
      }
      checkNeighbour(this.#host, shim, address, link)
      if (preferredSource !== undefined) checkNeighbour(container, link, preferredSource, shim)
    }
  }

  /** The address that the host has for each container address; one that it could not use is left out. */
  #sources(addresses: readonly IpAddress[]): Way[] {
    const ways: Way[] = []
    for (const destination of addresses) {
      const source = getRoute(this.#host, { destination })?.preferredSource
      if (source !== undefined) ways.push({ destination, source })
    }
    if (ways.length > 0) return ways
    throw new CniError(
      ErrorCode.conflict,
      `the host has no address with which it could reach ${addresses.map(formatAddress).join(', ')}`,
      'give the master an address of the network, or the host a default route; or remove "hostAccess"',
    )
  }

  #find(): Link | undefined {
    return getLink(this.#host, { name: this.#name })
  }

  #findOrMake(master: Link): Link {
    const found = this.#find()
    if (found?.up) return this.#mustBeOn(master, found)
    this.#host.executeAll(
      [
        addLinkRequest({
          name: this.#name,
          kind: 'macvlan',
          parent: master.index,
          mac: derivedMac(this.#network, master),
          arp: false,
          macvlan: { mode: 'bridge' },
        }),
        setLinkRequest({ name: this.#name, alias: aliasOf(this.#network) }),
        // No address of its own in IPv6 either.
        setLinkRequest({ name: this.#name, ipv6Conf: { addrGenMode: 'none' } }),
        setLinkRequest({ name: this.#name, up: true }),
      ],
      // Another container's ADD was faster; the kernel has no IPv6.
      { expected: [Errno.EEXIST, Errno.EAFNOSUPPORT] },
    )
    const made = this.#find()
    if (made !== undefined) return this.#mustBeOn(master, made)
    throw new CniError(ErrorCode.tryAgainLater, `link "${this.#name}" vanished while it was made`)
  }

  #mustBeOn(master: Link, found: Link): Link {
    if (found.kind === 'macvlan' && found.parent === lowerIndex(master)) return found
    throw new CniError(
      ErrorCode.conflict,
      `"${found.name}", the host's link to containers of network "${this.#network}", is not on master "${master.name}"`,
      'remove the containers that were attached to another "master" first, and call GC',
    )
  }

  #addRoutes({ index, mtu }: Link, link: Link, ways: readonly Way[]): void {
    const { mac } = link
    this.#host.executeAll([
      ...ways.map(({ destination }) => replaceNeighbourRequest({ index, address: destination, mac })),
      ...ways.map(({ destination, source }) =>
        replaceRouteRequest({
          destination: prefixOf(destination),
          index,
          priority: this.#metric,
          preferredSource: source,
          // What is too long for the container is dropped on its way.
          mtu: link.mtu < mtu ? link.mtu : undefined,
        }),
      ),
    ])
  }

  /** The routes to containers, each with its attachment's number as metric. */
  #routesTo({ index }: Link): Route[] {
    return listRoutes(this.#host, { index, table: RouteTable.main, type: 'unicast' }).filter(
      ({ destination }) => destination.length === destination.address.length * 8,
    )
  }

  #removeRoutes(shim: Link, concerned: (metric: number) => boolean): void {
    const lost = this.#routesTo(shim).filter(({ priority }) => concerned(priority))
    const { index } = shim
    this.#host.executeAll(
      [
        ...lost.map(({ destination, priority }) => deleteRouteRequest({ destination, index, priority })),
        ...lost.map(({ destination }) => deleteNeighbourRequest({ index, address: destination.address })),
      ],
      { expected: [Errno.ESRCH, Errno.ENOENT, Errno.ENODEV] },
    )
  }

  #removeUnless(isValid: (metric: number) => boolean): void {
    const shim = this.#find()
    if (shim === undefined) return
    this.#removeRoutes(shim, metric => !isValid(metric))
    // Looked at anew: of several that leave at the same time, the last one sees that it is.
    if (this.#routesTo(shim).length === 0) this.#removeUnused()
  }

  #removeUnused(): void {
    withNamespaceLock(() => {
      const shim = this.#find()
      if (shim === undefined || this.#routesTo(shim).length > 0) return
      deleteLink(this.#host, { index: shim.index }, { missing: 'ignore' })
    })
  }

  #leave(): void {
    this.#release()
    this.#removeUnused()
  }

  #release(): void {
    if (this.#lock !== undefined) close(this.#lock)
    this.#lock = undefined
  }
}

/** An address of a container, and the one that the host has for it. */
interface Way {
  readonly destination: IpAddress
  readonly source: IpAddress
}

function answerTo(container: NetlinkSocket, { index }: Link, { mac }: Link, ways: readonly Way[]): void {
  container.executeAll([
    ...ways.map(({ source }) => replaceNeighbourRequest({ index, address: source, mac })),
    ...ways.map(({ source }) => replaceRouteRequest({ destination: prefixOf(source), index })),
  ])
}

function checkNeighbour(socket: NetlinkSocket, { index, name }: Link, address: IpAddress, { mac }: Link): void {
  const entry = listNeighbours(socket, { index, family: familyOf(address) }).find(one =>
    equalAddresses(one.address, address),
  )
  const [present, wanted] = [entry?.mac, mac].map(one => (one === undefined ? 'none' : formatMac(one)))
  if (present !== wanted) {
    failCheck(`the MAC address of ${formatAddress(address)} on "${name}" is ${present}, not ${wanted}`)
  }
}

/** The same whenever the link is made again: containers know it by its address. */
function derivedMac(network: string, { mac }: Link): MacAddress {
  return macFromHex(sha512(`${network}/${formatMac(mac ?? new Uint8Array())}`))
}
