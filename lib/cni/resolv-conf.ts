/** Name servers from a file in the format of resolv.conf(5). */

import { readFileIfExists } from '../sys/file.ts'
import { CniError, ErrorCode } from './errors.ts'
import type { Dns } from './types.ts'

/**
 * @param key the configuration's key that names the file, for the error
 * @throws CniError 7 when there is no such file, SysError when it cannot be read
 */
export function readResolvConf(path: string, key: string): Dns {
  const dns = readResolvConfIfExists(path)
  if (dns !== undefined) return dns
  throw new CniError(
    ErrorCode.invalidNetworkConfig,
    `"${key}" is ${JSON.stringify(path)}, but there is no such file`,
    'give the path of a file in the format of resolv.conf(5), or leave the key out',
  )
}

/** Undefined where there is no such file. @throws SysError when it cannot be read */
export function readResolvConfIfExists(path: string): Dns | undefined {
  const text = readFileIfExists(path)
  return text === undefined ? undefined : parseResolvConf(text)
}

/** Lists grow with each line, the last domain counts; comments and what is unknown are skipped. */
function parseResolvConf(text: string): Dns {
  const dns: Dns = {}
  for (const line of text.split('\n')) {
    const [keyword = '', ...values] = line.trim().split(/\s+/)
    const [first] = values
    if (first === undefined || /^[#;]/.test(keyword)) continue
    if (keyword === 'nameserver') dns.nameservers = [...(dns.nameservers ?? []), first]
    else if (keyword === 'domain') dns.domain = first
    else if (keyword === 'search') dns.search = [...(dns.search ?? []), ...values]
    else if (keyword === 'options') dns.options = [...(dns.options ?? []), ...values]
  }
  return dns
}
