/** Requests to address plugins as lib/cni makes them. */

import type { AttachmentRequest, CniVersion, Command, NetworkConfig, Result } from '../../../lib/cni/types.ts'

/** What a runtime gives beside the configuration. */
export interface RuntimeGiven {
  readonly cniVersion?: CniVersion
  readonly ifname?: string
  readonly netns?: string
  readonly args?: Readonly<Record<string, string>>
  readonly prevResult?: Result
}

/** @param keys of the configuration, beyond, or other than, its version, the name "net" and the type "bridge" */
export function requestOf(
  command: Command,
  containerId: string,
  keys: object,
  given: RuntimeGiven = {},
): AttachmentRequest {
  const config = { cniVersion: given.cniVersion ?? '1.1.0', name: 'net', type: 'bridge', ...keys } as NetworkConfig
  return {
    command,
    cniVersion: config.cniVersion,
    network: config.name,
    config,
    stdin: JSON.stringify(config),
    path: [],
    environment: {},
    builtins: new Map(),
    containerId,
    ifname: given.ifname ?? 'eth0',
    netns: given.netns ?? '',
    args: new Map(Object.entries(given.args ?? {})),
    prevResult: given.prevResult,
  }
}
