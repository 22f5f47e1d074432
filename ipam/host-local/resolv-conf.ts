/** Name servers from a file in the format of resolv.conf(5). */

import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import type { Dns } from '../../lib/cni/types.ts'
import { readFileIfExists } from '../../lib/sys/file.ts'

/** @throws CniError 7 when there is no such file, SysError when it cannot be read */
export function readResolvConf(path: string): Dns {
  const text = readFileIfExists(path)
  if (text === undefined)
    throw new CniError(
      ErrorCode.invalidNetworkConfig,
      `"ipam.resolvConf" is ${JSON.stringify(path)}, but there is no such file`,
      'give the path of a file in the format of resolv.conf(5), or leave the key out',
    )
  return parseResolvConf(text)
}

/** Lists grow with each line, the last domain counts; comments and what is unknown are skipped. */
export function parseResolvConf(text: string): Dns {
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
