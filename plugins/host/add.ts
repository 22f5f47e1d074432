/** ADD: looks, and changes nothing. */

import { withHostSocket } from '../../lib/attachment/sockets.ts'
import { ErrorCode } from '../../lib/cni/errors.ts'
import { readResolvConf, readResolvConfIfExists } from '../../lib/cni/resolv-conf.ts'
import type { AttachmentRequest, Dns, Result } from '../../lib/cni/types.ts'
import { type HostConfig, parseHostConfig } from './config.ts'
import { requireHostNetwork } from './host-network.ts'
import { refuseTakenPorts } from './port-check.ts'
import { chooseDns, describeHostNetwork, mergeResults } from './result.ts'

export function add(request: AttachmentRequest): Result {
  const config = parseHostConfig(request)
  const { prevResult } = request
  const own = withHostSocket(host => {
    refuseTakenPorts(host, config.portMappings)
    return describeHostNetwork(requireHostNetwork(host, config.interfaces, ErrorCode.tryAgainLater))
  })
  return {
    ...(prevResult === undefined ? own : mergeResults(prevResult, own)),
    ...chooseDns(config.dns, prevResult, () => readDns(config)),
  }
}

function readDns({ resolvConf: { path, mustExist } }: HostConfig): Dns | undefined {
  return mustExist ? readResolvConf(path, 'resolvConf') : readResolvConfIfExists(path)
}
