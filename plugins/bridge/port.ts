/** The veth pair: its host end is a port of the bridge, its other end the container's interface. */

import { libc } from '#libc'
import { type MacAddress, randomMac } from '../../lib/address/mac.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import { hostVethName, linkAlias } from '../../lib/cni/names.ts'
import type { Transaction } from '../../lib/cni/transaction.ts'
import type { AttachmentRequest } from '../../lib/cni/types.ts'
import { CHECKED_PORTS_GROUP } from '../../lib/firewall/spoof-check.ts'
import { addLinkRequest, deleteLink, getLink, type Link, setLinkRequest } from '../../lib/netlink/route/link/index.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import type { BridgeConfig } from './config.ts'

export interface VethPair {
  readonly hostName: string
  readonly hostMac: MacAddress
  readonly containerMac: MacAddress
  /** Whether it took the place of one that a killed ADD of the same attachment had left. */
  readonly replaced: boolean
}

/** Both ends in one message: the container's is made in its namespace, under its final name. */
export function createVethPair(
  transaction: Transaction,
  host: NetlinkSocket,
  request: AttachmentRequest,
  config: BridgeConfig,
  place: { bridge: Link; namespace: number },
): VethPair {
  const hostName = hostVethName(request.network, request.containerId, request.ifname)
  // Addresses given at creation are not changed again by udev (MACAddressPolicy), so the result stays true.
  const macs = { hostMac: highMac(), containerMac: config.mac ?? randomMac() }
  const mtu = config.mtu > 0 ? { mtu: config.mtu } : {}
  const remove = () => deleteLink(host, { name: hostName }, { missing: 'ignore' })
  const replaced = transaction.step(
    `create veth pair "${hostName}" and "${request.ifname}"`,
    () => {
      // Left by an ADD of this same attachment that was killed.
      const left = remove()
      try {
        // In one message to the kernel: a plugin that is killed leaves no pair without the alias that GC knows it by.
        host.executeAll([
          addLinkRequest({
            name: hostName,
            kind: 'veth',
            mac: macs.hostMac,
            master: place.bridge.index,
            up: true,
            ...mtu,
            ...(config.macSpoofCheck ? { group: CHECKED_PORTS_GROUP } : {}),
            peer: { name: request.ifname, mac: macs.containerMac, namespace: place.namespace, ...mtu },
          }),
          setLinkRequest({
            name: hostName,
            alias: linkAlias(request.network, request.containerId, request.ifname),
            ...portSettings(config),
          }),
        ])
        return left
      } catch (error) {
        remove()
        throw error
      }
    },
    remove,
  )
  return { hostName, ...macs, replaced }
}

/** A bridge without an address of its own takes its lowest port's: this one is above those of other ports. */
export function highMac(): MacAddress {
  const mac = randomMac()
  mac[0] = 0xfe
  return mac
}

function portSettings(config: BridgeConfig) {
  if (!config.hairpinMode && !config.portIsolation) return {}
  return { bridgePort: { hairpin: config.hairpinMode, isolated: config.portIsolation } }
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
