/**
 * The bridge by which containers of overlay networks reach the world: shared by all networks of the host, one isolated
 * port for each container, no traffic between the ports. Its addresses are its only record: the subnets that were chosen.
 */

import { libc } from '#libc'
import { type Family, familyOf, type IpAddress, nextAddress } from '../address/address.ts'
import { formatPrefix, networkOf, type Prefix, parsePrefix, prefixesOverlap } from '../address/prefix.ts'
import { planGatewayAddresses } from '../attachment/gateway.ts'
import { findBridge, SharedBridge } from '../attachment/shared-bridge.ts'
import { CniError, ErrorCode } from '../cni/errors.ts'
import type { Transaction } from '../cni/transaction.ts'
import { listAddresses } from '../netlink/route/addr/index.ts'
import { getLink, type Link } from '../netlink/route/link/index.ts'
import { listRoutes } from '../netlink/route/route/index.ts'
import type { NetlinkSocket } from '../netlink/socket.ts'
import { allocate } from '../sys/bytes.ts'
import { withNetworkLock } from './network-lock.ts'
import { forgetGatewayBridge, isolateGatewayBridge } from './peers.ts'

export const DEFAULT_GATEWAY_BRIDGE = 'docker_gwbridge'

/** By which a bridge of ours is told from one of Docker's, which gives out the same addresses. */
export const GATEWAY_BRIDGE_ALIAS = 'cnikit gateway bridge'

export interface GatewayBridgeConfig {
  readonly name: string
  /** At most one of each family; where there is none, one is chosen. */
  readonly subnets: readonly Prefix[]
}

/** The bridge, and for each family that was asked for its own address: the containers' gateway. */
export interface ReadyGateway {
  readonly bridge: Link
  readonly gateways: readonly Prefix[]
}

/** The gateway bridge in use by one ADD; see SharedBridge, which it is. */
export class GatewayBridge {
  readonly #host: NetlinkSocket
  readonly #config: GatewayBridgeConfig
  readonly #shared: SharedBridge

  /** @throws CniError code 104 when a bridge of that name is somebody else's */
  constructor(host: NetlinkSocket, config: GatewayBridgeConfig) {
    this.#host = host
    this.#config = config
    const found = findGatewayBridge(host, config.name)
    this.#shared = new SharedBridge(host, {
      bridge: config.name,
      mtu: found === undefined ? underlayMtu(host) : 0,
      duplicateAddressDetection: false,
      alias: GATEWAY_BRIDGE_ALIAS,
    })
  }

  /**
   * Finds or makes the bridge, with an address of each family.
   * @param avoid what the container has elsewhere: its way there must not lead over this bridge
   */
  use(transaction: Transaction, families: readonly Family[], avoid: readonly Prefix[]): ReadyGateway {
    const { name } = this.#config
    transaction.step(
      `isolate the ports of "${name}"`,
      () => isolateGatewayBridge(name),
      isNew => {
        if (isNew && getLink(this.#host, { name }) === undefined) forgetGatewayBridge(name)
      },
    )
    const bridge = this.#shared.use(transaction)
    const gateways = this.#addresses(transaction, bridge, families, avoid)
    return { bridge, gateways }
  }

  /** To be called when the port is attached. */
  release(): void {
    this.#shared.release()
  }

  #addresses(transaction: Transaction, bridge: Link, families: readonly Family[], avoid: readonly Prefix[]): Prefix[] {
    const present = gatewayAddresses(this.#host, bridge)
    const lacks = families.some(family => !present.some(({ address }) => familyOf(address) === family))
    const differs = this.#config.subnets.some(
      subnet => families.includes(familyOf(subnet.address)) && !present.some(one => samePlace(one, subnet)),
    )
    // Two that choose at the same time would choose twice.
    const wanted = lacks || differs ? this.#chooseAlone(transaction, bridge, families, avoid) : present
    const gateways = wanted.filter(({ address }) => families.includes(familyOf(address)))
    for (const gateway of gateways) {
      const other = avoid.find(one => prefixesOverlap(one, gateway))
      if (other === undefined) continue
      throw new CniError(
        ErrorCode.conflict,
        `the network's subnet ${formatPrefix(networkOf(other))} overlaps with that of "${bridge.name}", ${formatPrefix(networkOf(gateway))}`,
        'give the gateway bridge another subnet or name ("gatewayBridge"), the network another one, or set "internal": true',
      )
    }
    return gateways
  }

  #chooseAlone(
    transaction: Transaction,
    bridge: Link,
    families: readonly Family[],
    avoid: readonly Prefix[],
  ): Prefix[] {
    return transaction.step(`give "${bridge.name}" its addresses`, () =>
      withNetworkLock(`gateway-${bridge.name}`, () => {
        const present = gatewayAddresses(this.#host, bridge)
        const wanted = families.map(family => {
          const ofFamily = (prefix: Prefix) => familyOf(prefix.address) === family
          const [has, configured] = [present.find(ofFamily), this.#config.subnets.find(ofFamily)]
          if (has !== undefined && configured !== undefined && !samePlace(has, configured)) {
            throw otherSubnet(bridge, has, configured)
          }
          return has ?? firstAddress(configured ?? chooseSubnet(this.#host, family, avoid))
        })
        this.#shared.changeAddresses(bridge, planGatewayAddresses(this.#host, bridge, wanted, false))
        return wanted
      }),
    )
  }
}

/** The gateway bridge of that name, or undefined. @throws CniError code 104 when it is somebody else's */
export function findGatewayBridge(host: NetlinkSocket, name: string): Link | undefined {
  const found = findBridge(host, name)
  if (found === undefined || found.alias === GATEWAY_BRIDGE_ALIAS) return found
  throw new CniError(
    ErrorCode.conflict,
    `bridge "${name}" is not one of cnikit's`,
    `Docker, perhaps, gives out its addresses: choose another "gatewayBridge.name", or hand it over with "ip link set ${name} alias '${GATEWAY_BRIDGE_ALIAS}'"`,
  )
}

/** The bridge's own addresses, by which its subnets are known. */
export function gatewayAddresses(host: NetlinkSocket, bridge: Link): Prefix[] {
  return listAddresses(host, { index: bridge.index })
    .filter(({ scope }) => scope === 0)
    .map(({ prefix }) => prefix)
}

function otherSubnet({ name }: Link, has: Prefix, configured: Prefix): CniError {
  return new CniError(
    ErrorCode.conflict,
    `"${name}" has the subnet ${formatPrefix(networkOf(has))}, but "gatewayBridge" says ${formatPrefix(configured)}`,
    `all overlay networks of the host share the bridge: give them the same subnet, this one another "gatewayBridge.name", or delete the bridge when no container uses it`,
  )
}

function samePlace(address: Prefix, subnet: Prefix): boolean {
  return address.length === subnet.length && prefixesOverlap(address, subnet)
}

function firstAddress(subnet: Prefix): Prefix {
  const network = networkOf(subnet)
  return { address: nextAddress(network.address) ?? network.address, length: network.length }
}

/** The interface of the default route, which containers share; 0, the kernel's default, where there is none. */
function underlayMtu(host: NetlinkSocket): number {
  const mtus = listRoutes(host, { table: MAIN_TABLE }).flatMap(({ destination, index }) => {
    const link = destination.length === 0 && index !== undefined ? getLink(host, { index }) : undefined
    return link === undefined ? [] : [link.mtu]
  })
  return mtus.length === 0 ? 0 : Math.min(...mtus)
}

/** RT_TABLE_MAIN, linux/rtnetlink.h. */
const MAIN_TABLE = 254

/** The private subnets that Docker takes for its networks too, in the same order. */
function candidates(): string[] {
  const subnets: string[] = []
  for (let second = 18; second < 32; second++) subnets.push(`172.${second}.0.0/16`)
  for (let third = 0; third < 256; third += 16) subnets.push(`192.168.${third}.0/20`)
  return subnets
}

/** @throws CniError code 104 when every subnet is in use */
function chooseSubnet(host: NetlinkSocket, family: Family, avoid: readonly Prefix[]): Prefix {
  if (family === 6) return uniqueLocalSubnet()
  const used = listRoutes(host, { family })
    .map(({ destination }) => destination)
    .filter(({ length }) => length > 0)
  for (const text of candidates()) {
    const subnet = parsePrefix(text)
    if (subnet !== undefined && ![...used, ...avoid].some(one => prefixesOverlap(one, subnet))) return subnet
  }
  throw new CniError(
    ErrorCode.conflict,
    'no private subnet is free for the gateway bridge: the host has routes into all of 172.18.0.0/16 to 172.31.0.0/16 and 192.168.0.0/16',
    'choose one with "gatewayBridge": {"subnet": ...}',
  )
}

/** With 40 random bits, as RFC 4193 wants it, so that nothing else has it. */
function uniqueLocalSubnet(): Prefix {
  const address: IpAddress = allocate(16)
  const random = allocate(5)
  libc.getrandom(random, random.length, 0)
  address[0] = 0xfd
  address.set(random, 1)
  return { address, length: 64 }
}
