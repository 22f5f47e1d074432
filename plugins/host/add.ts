/** ADD: looks, and changes nothing. */

import { withHostSocket } from '../../lib/attachment/sockets.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import { readResolvConf, readResolvConfIfExists } from '../../lib/cni/resolv-conf.ts'
import type { AttachmentRequest, Dns, Result } from '../../lib/cni/types.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import { type HostConfig, parseHostConfig } from './config.ts'
import { type HostNetwork, readHostNetwork } from './host-network.ts'
import { refuseTakenPorts } from './port-check.ts'
import { chooseDns, describeHostNetwork, mergeResults } from './result.ts'

export function add(request: AttachmentRequest): Result {
  const config = parseHostConfig(request)
  const { prevResult } = request
  const own = withHostSocket(host => {
    refuseTakenPorts(host, config.portMappings)
    return describeHostNetwork(requireHostNetwork(host, config, ErrorCode.tryAgainLater))
  })
  return {
    ...(prevResult === undefined ? own : mergeResults(prevResult, own)),
    ...chooseDns(config.dns, prevResult, () => readDns(config)),
  }
}

/**
 * The host's network, when there is one: a host that still boots has none, and an empty result would be of no use.
 * @param code what it is when there is none
 * @throws CniError
 */
export function requireHostNetwork(host: NetlinkSocket, { interfaces }: HostConfig, code: number): HostNetwork {
  const network = readHostNetwork(host, interfaces)
  if (network.interfaces.length > 0) return network
  if (interfaces.length === 0) {
    throw new CniError(
      code,
      'no interface of the host is up and has an address that others can reach',
      'bring the network of the host up: "ip address" shows its state',
    )
  }
  throw new CniError(
    code,
    `no interface of the host that "interfaces" ${JSON.stringify(interfaces)} chooses is up and has an address that others can reach`,
    'compare with "ip address", or leave the key out for all interfaces',
  )
}

function readDns({ resolvConf: { path, mustExist } }: HostConfig): Dns | undefined {
  return mustExist ? readResolvConf(path, 'resolvConf') : readResolvConfIfExists(path)
}
