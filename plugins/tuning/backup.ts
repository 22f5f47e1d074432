/**
 * What the interface was before ADD, kept for DEL in a file of the Go plugin's form, which either plugin reads: its keys
 * are the first five, and it ignores the others.
 */

import { formatMac, parseMac } from '../../lib/address/mac.ts'
import type { AttachmentId, AttachmentRequest } from '../../lib/cni/types.ts'
import type { Link } from '../../lib/netlink/route/link/index.ts'
import { makeDirectories, readFileIfExists, unlinkIfExists, writeFile } from '../../lib/sys/file.ts'
import type { InterfaceSettings } from './config.ts'
import { presentSettings } from './interface.ts'

export interface Backup {
  readonly mac?: string
  readonly promisc?: boolean
  readonly mtu?: number
  readonly allmulti?: boolean
  readonly txQLen?: number
  /** GC looks after those of its own network alone. */
  readonly network?: string
  /** Namespace and index of the interface: another one of the same name is not to become what this one was. */
  readonly interface?: string
  /** Of the link on the host that belongs to the interface. */
  readonly hostMtu?: number
}

const MODE = 0o600
const DIRECTORY_MODE = 0o700

export function backupName({ containerId, ifname }: AttachmentId): string {
  return `${containerId}_${ifname}.json`
}

/** What the settings change, as it is before they do. */
export function backupOf(
  link: Link,
  hostLink: Link | undefined,
  settings: InterfaceSettings,
): Pick<Backup, 'mac' | 'promisc' | 'mtu' | 'allmulti' | 'txQLen' | 'hostMtu'> {
  const { mac, mtu, promiscuous, allMulticast, txQueueLength } = presentSettings(link, settings)
  return {
    ...(mac === undefined ? {} : { mac: formatMac(mac) }),
    ...(promiscuous === undefined ? {} : { promisc: promiscuous }),
    ...(mtu === undefined ? {} : { mtu }),
    ...(allMulticast === undefined ? {} : { allmulti: allMulticast }),
    ...(txQueueLength === undefined ? {} : { txQLen: txQueueLength }),
    ...(mtu === undefined || hostLink === undefined ? {} : { hostMtu: hostLink.mtu }),
  }
}

/** What the interface was, as far as a backup makes sense: anybody may have written to the file. */
export function settingsOf({ mac, promisc, mtu, allmulti, txQLen }: Backup): InterfaceSettings {
  return {
    mac: typeof mac === 'string' ? parseMac(mac) : undefined,
    mtu: numberIn(mtu) || undefined,
    promiscuous: typeof promisc === 'boolean' ? promisc : undefined,
    allMulticast: typeof allmulti === 'boolean' ? allmulti : undefined,
    txQueueLength: numberIn(txQLen),
  }
}

/** Of the link on the host; undefined when it was not changed. */
export function hostMtuOf({ hostMtu }: Backup): number | undefined {
  return numberIn(hostMtu) || undefined
}

function numberIn(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < 2 ** 31 ? value : undefined
}

/**
 * Writes a backup. What there is of the same interface stays, because it is older: tuning may stand in a chain twice, and
 * ADD may come again.
 * @returns what puts the file back as it was
 * @throws SysError
 */
export function writeBackup(
  directory: string,
  request: AttachmentRequest,
  identity: string,
  backup: Backup,
): () => void {
  const { network } = request
  makeDirectories(directory, DIRECTORY_MODE)
  const path = `${directory}/${backupName(request)}`
  const before = readFileIfExists(path)
  const older = before === undefined ? {} : parseBackup(before)
  const kept = older.network === network && older.interface === identity ? older : {}
  const restore = () => {
    if (before === undefined) unlinkIfExists(path)
    else writeFile(path, before, MODE)
  }
  try {
    // In place: a file under a name of its own would stay when the plugin is killed, and nobody would know whose it is.
    writeFile(path, JSON.stringify({ ...backup, ...kept, network, interface: identity }, null, 1), MODE)
  } catch (error) {
    restore()
    throw error
  }
  return restore
}

/** Undefined where there is none. @throws SysError */
export function readBackup(path: string): Backup | undefined {
  const text = readFileIfExists(path)
  return text === undefined ? undefined : parseBackup(text)
}

/** A file that was cut, or is damaged, says nothing. */
function parseBackup(text: string): Backup {
  try {
    const backup: unknown = JSON.parse(text)
    return typeof backup === 'object' && backup !== null ? backup : {}
  } catch {
    return {}
  }
}
