/** The MAC address that somebody asks for the container's interface. */

import { formatMac, isUsableMac, type MacAddress, parseMac } from '../address/mac.ts'
import { CniError, ErrorCode } from '../cni/errors.ts'

/** Keys of a configuration that can name one. */
export interface MacDocument {
  readonly mac?: string
  readonly runtimeConfig?: { readonly mac?: string }
  readonly args?: { readonly cni?: { readonly mac?: string } }
}

/** Where it stands, the code for one that is wrong, and the text. */
type Source = [where: string, code: number, text: string | undefined]

/**
 * The first that is given of: runtimeConfig, args, CNI_ARGS, the configuration itself. Undefined leaves the choice to
 * the plugin.
 * @param first args may come before runtimeConfig
 * @throws CniError code 7, or 4 for CNI_ARGS
 */
export function requestedMac(
  document: MacDocument,
  args: ReadonlyMap<string, string> | undefined,
  first: 'runtimeConfig.mac' | 'args.cni.mac' = 'runtimeConfig.mac',
): MacAddress | undefined {
  const byRuntime: Source = ['runtimeConfig.mac', ErrorCode.invalidNetworkConfig, document.runtimeConfig?.mac]
  const byArgs: Source = ['args.cni.mac', ErrorCode.invalidNetworkConfig, document.args?.cni?.mac]
  const sources: Source[] = [
    ...(first === 'args.cni.mac' ? [byArgs, byRuntime] : [byRuntime, byArgs]),
    ['MAC in CNI_ARGS', ErrorCode.invalidEnvironment, args?.get('MAC')],
    ['mac', ErrorCode.invalidNetworkConfig, document.mac],
  ]
  for (const [where, code, text] of sources) {
    if (!text) continue
    const mac = parseMac(text)
    if (mac === undefined)
      throw new CniError(code, `${where} "${text}" is not a MAC address`, 'write it as "0a:58:0a:01:00:05"')
    if (isUsableMac(mac)) return mac
    throw new CniError(code, `${where} "${formatMac(mac)}" cannot be an interface's address`, 'use a unicast address')
  }
  return undefined
}
