/** The operator's list of sysctls that configurations may set: regular expressions, one a line. */

import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import { readFileIfExists } from '../../lib/sys/file.ts'
import { compileGoExpression } from './go-expression.ts'
import type { SysctlSetting } from './sysctl-key.ts'

const ALLOW_LIST = '/etc/cni/tuning/allowlist.conf'

/**
 * As in the Go plugin, an expression may match any part of the key as it is configured, with IFNAME in it; without the
 * file everything is allowed.
 * @throws CniError code 7
 */
export function refuseForbidden(settings: readonly SysctlSetting[]): void {
  if (settings.length === 0) return
  const text = readFileIfExists(ALLOW_LIST)
  if (text === undefined) return
  const lines = text
    .split('\n')
    .map(line => line.trim())
    .filter(line => line !== '')
  const allowed = lines.map(line => compile(line))
  for (const { key } of settings) {
    if (allowed.some(expression => expression.test(key))) continue
    throw new CniError(
      ErrorCode.invalidNetworkConfig,
      `Sysctl ${key} is not allowed. Only the following sysctls are allowed: [${lines.join(' ')}]`,
      `remove it from "sysctl", or add it to ${ALLOW_LIST}`,
    )
  }
}

function compile(line: string): RegExp {
  try {
    return compileGoExpression(line)
  } catch (error) {
    throw new CniError(
      ErrorCode.invalidNetworkConfig,
      `${ALLOW_LIST}: ${JSON.stringify(line)}: ${error instanceof Error ? error.message : String(error)}`,
      'write a regular expression, "^net.core.somaxconn$" for example',
      { cause: error },
    )
  }
}
