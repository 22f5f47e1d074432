/** Requests that must be refused, as data: what is wrong with each, the code and the message that it gets. */

import type { Test } from 'tap'
import type { Host } from './host.ts'
import type { NetworkNamespace } from './namespace.ts'
import { Network } from './network.ts'
import type { Answer } from './plugin.ts'
import { differences, snapshot } from './snapshot.ts'

export interface Refusal {
  /** Completes "refused: ". */
  readonly what: string
  /** Default: bridge. */
  readonly plugin?: string
  /** Default: ADD. */
  readonly command?: string
  /** Variables other than those of a good request; undefined leaves one out. */
  readonly environment?: Readonly<Record<string, string | undefined>>
  /** Keys other than those of a good configuration; undefined leaves one out. A text is standard input as it is. */
  readonly config?: object | string | Uint8Array
  readonly code: number
  /** What `msg` says. */
  readonly says: RegExp
}

/** What a case may refer to. */
export interface Surroundings {
  readonly host: Host
  readonly container: NetworkNamespace
}

/** Runs every case on the same host, which none may change, and the container neither. */
export function assertRefusals(
  t: Test,
  host: Host,
  cases: (surroundings: Surroundings) => readonly Refusal[],
  keys: object = {},
): void {
  const container = host.createContainer()
  const table = cases({ host, container })
  const network = new Network(host, keys)
  const before = snapshot(host)
  for (const refusal of table) {
    const answer = run(network, container, refusal)
    const claim = `refused: ${refusal.what}`
    t.equal(answer.status, 1, claim)
    t.equal(answer.error?.code, refusal.code, `${claim}: code`)
    t.match(answer.error?.msg, refusal.says, `${claim}: message`)
    t.same(container.links(), ['lo'], `${claim}: the container`)
    t.same(differences(before, snapshot(host)), [], `${claim}: the host`)
  }
}

function run(network: Network, container: NetworkNamespace, refusal: Refusal): Answer {
  const { plugin = 'bridge', command = 'ADD', environment, config } = refusal
  const variables: Record<string, string | undefined> = {
    CNI_COMMAND: command,
    CNI_CONTAINERID: 'refused',
    CNI_NETNS: container.path,
    CNI_IFNAME: 'eth0',
    CNI_PATH: network.pluginDir,
    ...environment,
  }
  const given = Object.entries(variables).filter(([, value]) => value !== undefined)
  const asItIs = typeof config === 'string' || config instanceof Uint8Array
  return network.runAs(plugin, {
    config: asItIs ? config : { ...network.config, type: plugin, ...config },
    environment: Object.fromEntries(given) as Record<string, string>,
  })
}
