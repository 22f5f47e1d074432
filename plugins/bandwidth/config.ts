/** The configuration: how much may pass in each direction, from the network's own keys or from the runtime. */

import { schema, validate } from '#validators/bandwidth'
import { parseConfig } from '../../lib/cni/config.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import type { NetworkRequest } from '../../lib/cni/types.ts'

/** In bits and bits per second. */
interface BandwidthKeys {
  ingressRate?: number
  ingressBurst?: number
  egressRate?: number
  egressBurst?: number
  shapedSubnets?: string[]
  unshapedSubnets?: string[]
}

/** The document, keys in the schema's spelling. */
interface BandwidthDocument extends BandwidthKeys {
  latency: number
  runtimeConfig?: { bandwidth?: BandwidthKeys }
}

export type Direction = 'ingress' | 'egress'

/** What may pass in one direction. */
export interface Limit {
  /** The key of the configuration that gives `burst`, for errors. */
  readonly burstKey: string
  /** Bytes per second. */
  readonly rate: number
  /** Bytes that may pass at once. */
  readonly burst: number
}

export interface BandwidthConfig {
  /** Of what the container receives; undefined for no limit. */
  readonly ingress: Limit | undefined
  /** Of what the container sends. */
  readonly egress: Limit | undefined
  readonly latencyMs: number
}

const ownKeys = [
  'ingressRate',
  'ingressBurst',
  'egressRate',
  'egressBurst',
  'shapedSubnets',
  'unshapedSubnets',
] as const

/** @throws CniError code 7, or 2 for subnets */
export function parseBandwidthConfig(request: NetworkRequest): BandwidthConfig {
  const document = parseConfig<BandwidthDocument>(request.config, schema, validate)
  // As in Go: any key of the network's own, and what the runtime says does not count at all.
  const isOwn = ownKeys.some(key => document[key] !== undefined)
  const keys = isOwn ? document : (document.runtimeConfig?.bandwidth ?? {})
  const where = isOwn ? '' : 'runtimeConfig.bandwidth.'
  refuseSubnets(keys, where)
  return {
    ingress: limitOf(keys, 'ingress', where),
    egress: limitOf(keys, 'egress', where),
    latencyMs: document.latency,
  }
}

const BITS = 8

function limitOf(keys: BandwidthKeys, direction: Direction, where: string): Limit | undefined {
  const rateKey = `${direction}Rate` as const
  const burstKey = `${direction}Burst` as const
  const { [rateKey]: rate = 0, [burstKey]: burst = 0 } = keys
  if (rate === 0 && burst === 0) return undefined
  if (burst === 0)
    refuse(`${where}${rateKey} is ${rate}, but there is no ${burstKey}`, 'if rate is set, burst must be too')
  if (rate === 0)
    refuse(`${where}${burstKey} is ${burst}, but there is no ${rateKey}`, 'if burst is set, rate must be too')
  if (rate < BITS) refuse(`${where}${rateKey} is ${rate} bits per second, less than a byte`, 'give at least 8')
  return { burstKey: where + burstKey, rate: Math.floor(rate / BITS), burst: Math.floor(burst / BITS) }
}

/**
 * Releases 1.5.0 and 1.5.1 of the Go plugins had these two keys, others pass over them. To limit what is to be exempt,
 * or to exempt what is to be limited, would be found out late.
 */
function refuseSubnets(keys: BandwidthKeys, where: string): void {
  for (const key of ['shapedSubnets', 'unshapedSubnets'] as const) {
    const subnets = keys[key] ?? []
    if (subnets.length === 0) continue
    throw new CniError(
      ErrorCode.unsupportedField,
      `"${where}${key}" is ${JSON.stringify(subnets)}, but limits are for all traffic`,
      'remove the key: the Go plugins had it in releases 1.5.0 and 1.5.1 alone, and pass over it since',
    )
  }
}

function refuse(message: string, remedy: string): never {
  throw new CniError(ErrorCode.invalidNetworkConfig, message, remedy)
}
