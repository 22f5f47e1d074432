/** The overlay networks of this host, as they are and as they are wanted, side by side. */

import { setTimeout as pause } from 'node:timers/promises'
import { withHostSocket } from '../../lib/attachment/sockets.ts'
import type { CniError } from '../../lib/cni/errors.ts'
import { compareNetwork } from './compare-network.ts'
import type { Finding } from './finding.ts'
import { type LocalNetwork, localNetworks } from './local-network.ts'
import type { OverlaySources } from './options.ts'
import { type WantedNetwork, type WantedNetworks, wantedNetworks } from './wanted-network.ts'

export interface SurveyedNetwork {
  readonly network: string
  /** Undefined when it is wanted, but not on this host. */
  readonly present: LocalNetwork | undefined
  readonly wanted: WantedNetwork | undefined
  /** What differs. */
  readonly findings: readonly Finding[]
}

export interface Survey {
  readonly networks: readonly SurveyedNetwork[]
  readonly agent: WantedNetworks['agent']
  readonly agentError: CniError | undefined
}

/** For changes that are on their way from etcd to the kernel. */
const SETTLE_MS = 300

/** @throws SysError, NetlinkError */
export async function survey(sources: OverlaySources): Promise<Survey> {
  const first = look(sources)
  if (first.networks.every(({ findings }) => findings.length === 0)) return first
  await pause(SETTLE_MS)
  return look(sources)
}

function look(sources: OverlaySources): Survey {
  const { networks, agent, agentError } = withHostSocket(host => wantedNetworks(host, sources))
  const missing = new Map(networks)
  const here = localNetworks().map(present => {
    const wanted = networks.get(present.namespace)
    missing.delete(present.namespace)
    const network = wanted?.network ?? present.network
    const findings = compareNetwork({ ...present, network }, wanted, agentError === undefined)
    return { network, present: { ...present, network }, wanted, findings }
  })
  const elsewhere = [...missing.values()].map(wanted => ({
    network: wanted.network,
    present: undefined,
    wanted,
    findings: [],
  }))
  return { networks: [...here, ...elsewhere].sort(byName), agent, agentError }
}

const byName = (a: SurveyedNetwork, b: SurveyedNetwork): number => (a.network < b.network ? -1 : 1)
