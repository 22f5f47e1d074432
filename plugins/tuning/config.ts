/** The configuration: sysctls and settings of the interface, each from whoever has the last word. */

import { schema, validate } from '#validators/tuning'
import type { MacAddress } from '../../lib/address/mac.ts'
import { requestedMac } from '../../lib/attachment/mac.ts'
import { normalise, parseConfig } from '../../lib/cni/config.ts'
import type { AttachmentRequest, NetworkRequest } from '../../lib/cni/types.ts'
import { refuseDuplicateKeys } from './duplicate-keys.ts'
import { type SysctlSetting, sysctlSettings } from './sysctl-key.ts'

/** What the configuration and its "args.cni" can both say. */
interface TuningKeys {
  sysctl?: Record<string, string>
  mac?: string
  mtu?: number
  promisc?: boolean
  allmulti?: boolean
  txQLen?: number
}

/** The document, keys in the schema's spelling. */
interface TuningDocument extends TuningKeys {
  dataDir?: string
  runtimeConfig?: { mac?: string }
  args?: { cni?: TuningKeys }
}

/** What the interface is to be; undefined leaves it as it is. */
export interface InterfaceSettings {
  readonly mac: MacAddress | undefined
  readonly mtu: number | undefined
  readonly promiscuous: boolean | undefined
  readonly allMulticast: boolean | undefined
  readonly txQueueLength: number | undefined
}

export interface TuningConfig {
  /** In the order of the configuration, those of "args.cni" that it does not have last. */
  readonly sysctls: readonly SysctlSetting[]
  readonly settings: InterfaceSettings
  readonly dataDirectory: string
}

const DEFAULT_DATA_DIRECTORY = '/run/cni/tuning'

/** @throws CniError code 7, or 4 for a MAC address in CNI_ARGS */
export function parseTuningConfig(
  request: NetworkRequest & Partial<Pick<AttachmentRequest, 'args' | 'ifname'>>,
): TuningConfig {
  const document = parseConfig<TuningDocument>(request.config, schema, validate)
  const args = document.args?.cni ?? {}
  if (document.sysctl !== undefined) refuseDuplicateKeys(request.stdin)
  return {
    sysctls: sysctlSettings(document.sysctl ?? {}, args.sysctl ?? {}, request.ifname),
    settings: {
      // Given, but empty: the interface keeps its own, whatever others ask for.
      mac: args.mac === '' ? undefined : requestedMac(document, request.args, 'args.cni.mac'),
      mtu: (args.mtu ?? document.mtu) || undefined,
      // As in Go, it is only ever switched on.
      promiscuous: (args.promisc ?? document.promisc) || undefined,
      allMulticast: args.allmulti ?? document.allmulti,
      txQueueLength: args.txQLen ?? document.txQLen,
    },
    dataDirectory: document.dataDir || DEFAULT_DATA_DIRECTORY,
  }
}

/** Where the backups are, for DEL and GC, which also do their work when the rest of the configuration is wrong. */
export function dataDirectoryOf({ config }: NetworkRequest): string {
  const { dataDir } = normalise(config, schema) as { dataDir?: unknown }
  return typeof dataDir === 'string' && dataDir.startsWith('/') ? dataDir : DEFAULT_DATA_DIRECTORY
}

/** Whether anything of the interface is to be changed. */
export function changesInterface({ mac, mtu, promiscuous, allMulticast, txQueueLength }: InterfaceSettings): boolean {
  return [mac, mtu, promiscuous, allMulticast, txQueueLength].some(setting => setting !== undefined)
}
