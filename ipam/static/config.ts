/** static's configuration: the keys of the Go plugin. */

import { schema, validate } from '#validators/static'
import { parseConfig } from '../../lib/cni/config.ts'
import { ErrorCode } from '../../lib/cni/errors.ts'
import type { AttachmentRequest, Dns, NetworkRequest, Route } from '../../lib/cni/types.ts'
import { readRoute, refuseSeveralPerFamily } from '../values.ts'
import {
  type ConfiguredDocument,
  completeRequested,
  isSame,
  readConfigured,
  refuseTwice,
  type StaticAddress,
  withGateways,
} from './addresses.ts'

/** The document, keys in the schema's spelling. */
interface StaticDocument {
  ipam: { addresses?: ConfiguredDocument[]; routes?: Route[]; dns?: Dns }
  args?: { cni?: { ips?: string[] } }
  runtimeConfig?: { ips?: string[] }
}

export interface StaticConfig {
  /** What the attachment gets. */
  readonly addresses: readonly StaticAddress[]
  readonly routes: readonly Route[]
  readonly dns: Dns | undefined
}

/** @throws CniError 7 for the configuration, 4 for what stands in CNI_ARGS */
export function parseStaticConfig(request: NetworkRequest & Partial<Pick<AttachmentRequest, 'args'>>): StaticConfig {
  const { ipam, args, runtimeConfig } = parseConfig<StaticDocument>(request.config, schema, validate)
  const configured = (ipam.addresses ?? []).map(readConfigured)
  const complete = (texts: readonly string[], path: string) =>
    texts.map((text, index) =>
      completeRequested(text, { name: `${path}[${index}]`, code: ErrorCode.invalidNetworkConfig }, configured),
    )
  const chosen = runtimeConfig?.ips?.length
    ? complete(runtimeConfig.ips, 'runtimeConfig.ips')
    : args?.cni?.ips?.length
      ? complete(args.cni.ips, 'args.cni.ips')
      : configured
  refuseTwice(chosen)
  const asked = listed(request.args?.get('IP')).map(text =>
    completeRequested(text, { name: 'IP in CNI_ARGS', code: ErrorCode.invalidEnvironment }, configured),
  )
  refuseTwice(asked)
  const addresses = withGateways(
    [...chosen, ...asked.filter(one => !chosen.some(other => isSame(one, other)))],
    listed(request.args?.get('GATEWAY')),
  )
  refuseSeveralPerFamily(
    request.cniVersion,
    addresses.map(({ prefix }) => prefix.address.length),
  )
  return { addresses, routes: (ipam.routes ?? []).map(readRoute), dns: ipam.dns }
}

/** The parts of a list in CNI_ARGS: "10.1.0.5/24, fd00::5/64". */
function listed(text: string | undefined): string[] {
  return text ? text.split(',').map(part => part.trim()) : []
}
