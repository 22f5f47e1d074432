/** The macvlan network's configuration: what the document says, checked, with defaults filled in. */

import { schema, validate } from '#validators/macvlan'
import type { MacAddress } from '../../lib/address/mac.ts'
import { requestedMac } from '../../lib/attachment/mac.ts'
import { givenDns } from '../../lib/attachment/result.ts'
import { parseConfig } from '../../lib/cni/config.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import type { AttachmentRequest, Dns, NetworkRequest } from '../../lib/cni/types.ts'

export type MacvlanMode = 'bridge' | 'private' | 'vepa' | 'passthru'

/** The document, keys in the schema's spelling. */
interface MacvlanDocument {
  master?: string
  mode?: MacvlanMode | ''
  mtu?: number
  mac?: string
  linkInContainer?: boolean
  bcqueuelen?: number
  enabledad?: boolean
  hostAccess?: boolean
  ipam?: { type?: string }
  dns?: Dns
  runtimeConfig?: { mac?: string }
  args?: { cni?: { mac?: string } }
}

export interface MacvlanConfig {
  /** Undefined for the interface of the default route. */
  readonly master: string | undefined
  readonly mode: MacvlanMode
  /** 0: the master's. */
  readonly mtu: number
  /** The master is a link of the container, and not of the host. */
  readonly linkInContainer: boolean
  /** Broadcasts that may wait on the master; 0 leaves the choice to the kernel. */
  readonly broadcastQueueLength: number
  readonly duplicateAddressDetection: boolean
  /** The host is to reach its containers. */
  readonly hostAccess: boolean
  /** Asked for the container's interface; undefined leaves the choice to us. */
  readonly mac: MacAddress | undefined
  /** Undefined for a network without addresses (layer 2 only). */
  readonly ipamType: string | undefined
  /** Replaces the IPAM plugin's when it says anything. */
  readonly dns: Dns | undefined
}

function refuse(message: string, remedy: string): never {
  throw new CniError(ErrorCode.invalidNetworkConfig, message, remedy)
}

/** @throws CniError code 7, or 4 for a MAC address in CNI_ARGS */
export function parseMacvlanConfig(request: NetworkRequest & Partial<Pick<AttachmentRequest, 'args'>>): MacvlanConfig {
  const document = parseConfig<MacvlanDocument>(request.config, schema, validate)
  const config: MacvlanConfig = {
    master: document.master || undefined,
    mode: document.mode || 'bridge',
    mtu: document.mtu ?? 0,
    linkInContainer: document.linkInContainer ?? false,
    broadcastQueueLength: document.bcqueuelen ?? 0,
    duplicateAddressDetection: document.enabledad ?? false,
    hostAccess: document.hostAccess ?? false,
    mac: requestedMac(document, request.args),
    ipamType: document.ipam?.type || undefined,
    dns: givenDns(document.dns),
  }
  if (config.mtu > 0 && config.mtu < 68) refuse(`mtu is ${config.mtu}`, "set 0 (the master's) or 68 to 65535")
  if (config.hostAccess) checkHostAccess(config)
  return config
}

function checkHostAccess({ mode, linkInContainer, ipamType }: MacvlanConfig): void {
  if (mode !== 'bridge') {
    refuse(
      `hostAccess is true and mode is "${mode}"`,
      'only in mode "bridge" do links of one master reach one another: remove one of the two keys',
    )
  }
  if (linkInContainer) {
    refuse(
      'hostAccess and linkInContainer are both true',
      'the host has no link of its own on a master in the container: remove one of the two keys',
    )
  }
  if (ipamType === undefined) {
    refuse('hostAccess is true and there is no "ipam"', 'the host reaches containers by their addresses: add "ipam"')
  }
}
