/** Checks of what comes in by the socket: it becomes keys in etcd and rows in the kernel. */

import { formatAddress, parseAddress } from '../lib/address/address.ts'
import { formatMac, isUsableMac, parseMac } from '../lib/address/mac.ts'
import { formatPrefix, parsePrefix } from '../lib/address/prefix.ts'
import { checkContainerId, checkInterfaceName, checkNetworkName } from '../lib/cni/environment.ts'
import { CniError, ErrorCode } from '../lib/cni/errors.ts'
import type { AgentAttachment, JoinRequest, PublishRequest } from '../lib/overlay/agent-protocol.ts'

/** With MAC and addresses in the one form in which they are compared. */
export type CheckedPublish = PublishRequest

function refuse(message: string): never {
  throw new CniError(ErrorCode.decodeFailure, `overlayd: ${message}`, 'plugin and agent must be of the same version')
}

/** @throws CniError */
export function checkAttachment({ network, containerId, ifname }: AgentAttachment): void {
  if ([network, containerId, ifname].some(part => typeof part !== 'string'))
    refuse('the request lacks "network", "containerId" or "ifname"')
  checkNetworkName(network)
  checkContainerId(containerId)
  checkInterfaceName(ifname)
}

const isInteger = (value: number | undefined, low: number, high: number): boolean =>
  value === undefined || (Number.isInteger(value) && value >= low && value <= high)

/** @throws CniError */
export function checkJoin(request: JoinRequest): void {
  checkAttachment(request)
  if (!isInteger(request.vni, 1, 2 ** 24 - 1)) refuse(`"vni" is ${request.vni}, but must be 1 to 16777215`)
  if (!isInteger(request.port, 1, 65_535)) refuse(`"port" is ${request.port}, but must be 1 to 65535`)
  if (!isInteger(request.mtu, 0, 65_535)) refuse(`"mtu" is ${request.mtu}, but must be 0 to 65535`)
}

/** @throws CniError */
export function checkPublish(request: PublishRequest): CheckedPublish {
  checkAttachment(request)
  const mac = parseMac(request.mac)
  if (mac === undefined || !isUsableMac(mac)) refuse(`"mac" is ${JSON.stringify(request.mac)}`)
  const addresses = request.addresses.map(text => {
    const prefix = parsePrefix(text)
    return prefix === undefined ? refuse(`an address is ${JSON.stringify(text)}`) : formatPrefix(prefix)
  })
  return { ...request, mac: formatMac(mac), addresses }
}

/** The address of "10.0.0.5/24", in the form in which it is a key. */
export function addressOf(prefix: string): string {
  const [text = ''] = prefix.split('/')
  const address = parseAddress(text)
  return address === undefined ? text : formatAddress(address)
}
