/** CNI_ARGS: "K=V;K=V", with the meaning that Go's library gives it. */

import { CniError, ErrorCode } from './errors.ts'

const IGNORE_UNKNOWN = 'IgnoreUnknown'

/**
 * Keys that never make a request fail: those of any plugin here, because delegates are given the same CNI_ARGS as the
 * plugin that calls them, and those that the kubelet and containerd send to everything.
 */
const wellKnown: readonly string[] = [
  IGNORE_UNKNOWN,
  'IP',
  'GATEWAY',
  'MAC',
  'K8S_POD_NAMESPACE',
  'K8S_POD_NAME',
  'K8S_POD_INFRA_CONTAINER_ID',
  'K8S_POD_UID',
]

/**
 * Keys and values, keys as they were written: they are case-sensitive.
 * @param known keys that the plugin and those it calls read; undefined when none looks at CNI_ARGS
 * @throws CniError code 4 for a pair without exactly one "=", and for unknown keys without IgnoreUnknown
 */
export function parseArguments(text: string, known: readonly string[] | undefined): Map<string, string> {
  const parsed = new Map<string, string>()
  const unknown: string[] = []
  for (const pair of text === '' ? [] : text.split(';')) {
    const [key = '', value, ...more] = pair.split('=')
    if (value === undefined || more.length > 0) {
      refuse(`ARGS: invalid pair ${JSON.stringify(pair)}`, 'CNI_ARGS must be of the form KEY=VALUE;KEY=VALUE')
    }
    parsed.set(key, value)
    if (known !== undefined && !known.includes(key) && !wellKnown.includes(key)) unknown.push(pair)
  }
  const ignoreUnknown = parseBoolean(parsed.get(IGNORE_UNKNOWN) ?? 'false')
  if (unknown.length > 0 && !ignoreUnknown) {
    refuse(
      `ARGS: unknown args [${unknown.map(pair => JSON.stringify(pair)).join(' ')}]`,
      `add IgnoreUnknown=1 to CNI_ARGS; known here: ${[...(known ?? []), ...wellKnown].join(', ')}`,
    )
  }
  return parsed
}

/** The pairs that can be read, for DEL, which must not fail for want of a good CNI_ARGS. */
export function parseArgumentsLeniently(text: string): Map<string, string> {
  const pairs = text.split(';').map(pair => pair.split('='))
  return new Map(
    pairs.flatMap(([key = '', value, ...more]) => (value === undefined || more.length > 0 ? [] : [[key, value]])),
  )
}

function refuse(message: string, remedy: string): never {
  throw new CniError(ErrorCode.invalidEnvironment, message, remedy)
}

function parseBoolean(text: string): boolean {
  const lower = text.toLowerCase()
  if (lower === '1' || lower === 'true') return true
  if (lower === '0' || lower === 'false') return false
  return refuse(`ARGS: ${IGNORE_UNKNOWN} is ${JSON.stringify(text)}`, 'set it to 1, true, 0 or false')
}
