/** A veth pair: one end is the port of a bridge, the other an interface of the container. */

import { libc } from '#libc'
import { type MacAddress, randomMac } from '../address/mac.ts'
import { CniError, ErrorCode } from '../cni/errors.ts'
import type { Transaction } from '../cni/transaction.ts'
import {
  addLinkRequest,
  type BridgePortSettings,
  deleteLink,
  getLink,
  type Link,
  setLinkRequest,
} from '../netlink/route/link/index.ts'
import type { NetlinkSocket } from '../netlink/socket.ts'
import { Errno } from '../sys/errno.ts'

/** A port of a bridge and what hangs on it. */
export interface VethPairOptions {
  /** Of the bridge's end. */
  readonly name: string
  /** By which the plugin finds its ports. */
  readonly alias: string
  /** Index of the bridge, in the namespace of the socket. */
  readonly bridge: number
  readonly settings?: BridgePortSettings
  readonly group?: number
  /** 0 leaves the choice to the kernel. */
  readonly mtu: number
  readonly container: {
    readonly name: string
    /** Descriptor of the namespace in which it is to be. */
    readonly namespace: number
    /** Default: random. */
    readonly mac?: MacAddress | undefined
  }
}

export interface VethPair {
  readonly hostName: string
  readonly hostMac: MacAddress
  readonly containerMac: MacAddress
  /** Whether it took the place of one that a killed ADD of the same attachment had left. */
  readonly replaced: boolean
}

/**
 * Both ends in one message: the container's is made in its namespace, under its final name.
 * @param socket in the bridge's namespace
 * @throws CniError code 104 when the bridge can have no more ports
 */
export function createVethPair(transaction: Transaction, socket: NetlinkSocket, options: VethPairOptions): VethPair {
  const { name, container } = options
  // Addresses given at creation are not changed again by udev (MACAddressPolicy), so the result stays true.
  const macs = { hostMac: highMac(), containerMac: container.mac ?? randomMac() }
  const mtu = options.mtu > 0 ? { mtu: options.mtu } : {}
  const remove = () => deleteLink(socket, { name }, { missing: 'ignore' })
  const replaced = transaction.step(
    `create veth pair "${name}" and "${container.name}"`,
    () => {
      // Left by an ADD of this same attachment that was killed.
      const left = remove()
      try {
        // In one message to the kernel: a plugin that is killed leaves no pair without the alias that GC knows it by.
        socket.executeAll([
          addLinkRequest({
            name,
            kind: 'veth',
            mac: macs.hostMac,
            master: options.bridge,
            up: true,
            ...mtu,
            ...(options.group === undefined ? {} : { group: options.group }),
            peer: { name: container.name, mac: macs.containerMac, namespace: container.namespace, ...mtu },
          }),
          setLinkRequest({
            name,
            alias: options.alias,
            ...(options.settings === undefined ? {} : { bridgePort: options.settings }),
          }),
        ])
        return left
      } catch (error) {
        remove()
        throw explained(error, socket, options)
      }
    },
    remove,
  )
  return { hostName: name, ...macs, replaced }
}

/** BR_MAX_PORTS, net/bridge/br_private.h, less the number 0, which no port has. */
const MAX_PORTS = 1023

function explained(error: unknown, socket: NetlinkSocket, { bridge }: VethPairOptions): unknown {
  if ((error as { errno?: number }).errno !== Errno.EXFULL) return error
  const name = getLink(socket, { index: bridge })?.name ?? bridge
  return new CniError(
    ErrorCode.conflict,
    `bridge "${name}" is full: it has ${MAX_PORTS} ports, the most that the kernel allows`,
    'remove containers that are no longer needed (GC), or put new ones on another bridge',
    { cause: error },
  )
}

/** A bridge without an address of its own takes its lowest port's: this one is above those of other ports. */
export function highMac(): MacAddress {
  const mac = randomMac()
  mac[0] = 0xfe
  return mac
}

/** How long the kernel may take to notice a carrier. */
const PORT_TIMEOUT_MS = 2_500

/**
 * Waits until the port passes traffic. Bringing the container's end up raises the carrier, but frames are dropped until
 * the kernel's link watch has run; since Linux 6.8 asking for the link makes it run.
 * @throws CniError code 100
 */
export function waitForPort(host: NetlinkSocket, name: string): Link {
  const deadline = Date.now() + PORT_TIMEOUT_MS
  for (;;) {
    const link = getLink(host, { name })
    if (link?.operState === 'up') return link
    if (link === undefined || Date.now() > deadline) {
      throw new CniError(
        ErrorCode.kernel,
        `bridge port "${name}" is ${link === undefined ? 'gone' : `in state "${link.operState}"`}`,
        'look for another program that manages the link (NetworkManager, systemd-networkd), with "ip monitor link"',
      )
    }
    libc.usleep(200)
  }
}
