/** The configuration: which device, and what the attachment is given. */

import { schema, validate } from '#validators/host-device'
import { givenDns } from '../../lib/attachment/result.ts'
import { parseConfig } from '../../lib/cni/config.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import type { Dns, NetworkRequest } from '../../lib/cni/types.ts'
import { parseHardwareAddress } from './hardware-address.ts'

/** The document, keys in the schema's spelling. */
interface HostDeviceDocument {
  device?: string
  hwaddr?: string
  kernelpath?: string
  pciBusID?: string
  allowDefaultRoute?: boolean
  enabledad?: boolean
  ipam?: { type?: string }
  dns?: Dns
  runtimeConfig?: { deviceID?: string }
  capabilities?: Record<string, boolean>
}

/** How the device is named; `value` is as in the configuration. */
export interface Selector {
  readonly key: 'device' | 'hwaddr' | 'kernelpath' | 'pciBusID' | 'runtimeConfig.deviceID'
  readonly value: string
}

export interface HostDeviceConfig {
  /** Undefined when the runtime has not given it again, as DEL and GC can do without, or not yet (STATUS). */
  readonly selector: Selector | undefined
  /** The runtime chooses the device, for each container. */
  readonly isChosenByRuntime: boolean
  /** The device may be the one that the host's default route leads through. */
  readonly allowDefaultRoute: boolean
  readonly duplicateAddressDetection: boolean
  /** Undefined for an interface without addresses. */
  readonly ipamType: string | undefined
  /** Replaces the IPAM plugin's when it says anything. */
  readonly dns: Dns | undefined
}

/** @throws CniError code 7 */
export function parseHostDeviceConfig(request: NetworkRequest): HostDeviceConfig {
  const document = parseConfig<HostDeviceDocument>(request.config, schema, validate)
  return {
    selector: selectorOf(document),
    isChosenByRuntime: document.capabilities?.deviceID === true,
    allowDefaultRoute: document.allowDefaultRoute ?? false,
    duplicateAddressDetection: document.enabledad ?? false,
    ipamType: document.ipam?.type || undefined,
    dns: givenDns(document.dns),
  }
}

/** What the runtime has chosen for this container comes before what is written for all; then as in Go. */
function selectorOf(document: HostDeviceDocument): Selector | undefined {
  const candidates: readonly [Selector['key'], string | undefined][] = [
    ['runtimeConfig.deviceID', document.runtimeConfig?.deviceID],
    ['device', document.device],
    ['hwaddr', document.hwaddr],
    ['kernelpath', document.kernelpath],
    ['pciBusID', document.pciBusID],
  ]
  for (const [key, value] of candidates) {
    if (!value) continue
    checkSelector(key, value)
    return { key, value }
  }
  return undefined
}

function checkSelector(key: Selector['key'], value: string): void {
  if (value.includes('\0')) refuse(key, value, 'contains a NUL character')
  if (key === 'device') {
    if (value.includes('/')) refuse(key, value, 'is no name of an interface')
  } else if (key === 'hwaddr') {
    if (parseHardwareAddress(value) === undefined) refuse(key, value, 'is no hardware address')
  } else if (key === 'kernelpath') {
    const isBelow = value.startsWith('/sys/devices/') && !value.split('/').includes('..')
    if (!isBelow) refuse(key, value, 'is not a path below /sys/devices/')
  } else if (value.includes('/') || value === '.' || value === '..') {
    refuse(key, value, 'is no address of a device on a bus')
  }
}

function refuse(key: string, value: string, what: string): never {
  throw new CniError(ErrorCode.invalidNetworkConfig, `"${key}" is ${JSON.stringify(value)}, which ${what}`, examples)
}

const examples =
  'device: "eth1"; hwaddr: "52:54:00:12:34:56"; kernelpath: "/sys/devices/pci0000:00/0000:00:19.0"; pciBusID and deviceID: "0000:00:19.0"'

/** @throws CniError code 7 when no device is named */
export function requireSelector({ selector }: HostDeviceConfig): Selector {
  if (selector !== undefined) return selector
  throw new CniError(
    ErrorCode.invalidNetworkConfig,
    'specify either "device", "hwaddr", "kernelpath" or "pciBusID"',
    'or set the capability deviceID and let the runtime choose the device',
  )
}
