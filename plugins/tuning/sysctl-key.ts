/** Names of sysctls: what they may be, and which files below /proc/sys they mean. */

import { CniError, ErrorCode } from '../../lib/cni/errors.ts'

/** Stands in a name for that of the container's interface, once. */
const INTERFACE_TOKEN = 'IFNAME'

export interface SysctlSetting {
  /** As it is configured. */
  readonly key: string
  /**
   * Paths below /proc/sys that the key may mean, the likeliest first. sysctl(8) takes the first separator, "." or "/", for
   * all of them, so that the other one can stand in an interface's name; the Go plugin takes both everywhere.
   */
  readonly names: readonly [string, ...string[]]
  readonly value: string
}

/**
 * The settings to be made; those of `overriding` replace the others, in whichever notation.
 * @param ifname undefined when there is no interface yet (STATUS)
 * @throws CniError code 7
 */
export function sysctlSettings(
  configured: Readonly<Record<string, string>>,
  overriding: Readonly<Record<string, string>>,
  ifname = INTERFACE_TOKEN,
): SysctlSetting[] {
  const settings = new Map<string, SysctlSetting>()
  for (const [key, value] of Object.entries(configured)) {
    const setting = sysctlSetting(key, value, ifname)
    const [name] = setting.names
    const other = settings.get(name)
    if (other !== undefined) {
      refuse(`"sysctl" has ${name} twice: as ${JSON.stringify(other.key)} and as ${JSON.stringify(key)}`, 'remove one')
    }
    settings.set(name, setting)
  }
  for (const [key, value] of Object.entries(overriding)) {
    const setting = sysctlSetting(key, value, ifname)
    settings.set(setting.names[0], setting)
  }
  return [...settings.values()]
}

function sysctlSetting(key: string, value: string, ifname: string): SysctlSetting {
  for (const text of [key, value]) {
    for (let index = 0; index < text.length; index++) {
      const code = text.charCodeAt(index)
      // The kernel would read several lines as several numbers, or drop all but the first.
      if (code < 32 && code !== 9) {
        refuse(
          `sysctl ${JSON.stringify(key)}: ${JSON.stringify(value)} has a control character`,
          'write it in one line',
        )
      }
    }
  }
  const name = nameOf(firstSeparator(key) === '/' ? key.split('/') : swapSeparators(key), ifname)
  if (name === undefined) {
    refuse(
      `invalid net sysctl key: ${JSON.stringify(key)}`,
      'sysctls of the network alone can be set: "net.ipv4.conf.IFNAME.arp_filter" or "net/ipv4/conf/IFNAME/arp_filter"',
    )
  }
  const other = nameOf(key.replaceAll('.', '/').split('/'), ifname)
  return { key, names: other === undefined || other === name ? [name] : [name, other], value }
}

function firstSeparator(key: string): '.' | '/' {
  const [dot, slash] = [key.indexOf('.'), key.indexOf('/')]
  return slash >= 0 && (dot < 0 || slash < dot) ? '/' : '.'
}

/** With dots for separators, a slash stands for a dot in a name: net.ipv4.conf.eth0/100.forwarding. */
function swapSeparators(key: string): string[] {
  return key.split('.').map(part => part.replaceAll('/', '.'))
}

/** The path below /proc/sys, or undefined when it leads out of net/. */
function nameOf(parts: readonly string[], ifname: string): string | undefined {
  const kept = parts.filter(part => part !== '')
  if (kept.length < 2 || kept[0] !== 'net' || kept.includes('.') || kept.includes('..')) return undefined
  const token = kept.indexOf(INTERFACE_TOKEN)
  if (token >= 0) kept[token] = ifname
  return kept.join('/')
}

function refuse(message: string, remedy: string): never {
  throw new CniError(ErrorCode.invalidNetworkConfig, message, remedy)
}
