/** Published ports as nftables has them against what the agent wants of this host. */

import type { ServedPort } from '../../lib/overlay/agent-protocol.ts'
import { type Finding, shortList } from './finding.ts'
import { formatTarget, type LocalServices } from './local-services.ts'

const AGENT_MENDS = 'systemctl restart overlayd; journalctl -u overlayd says what hindered it'

export function compareServices(present: LocalServices, wanted: readonly ServedPort[]): Finding[] {
  const findings: Finding[] = []
  const found = (what: string): void => {
    findings.push({ gravity: 'error', what, remedy: AGENT_MENDS })
  }
  const own = wanted.filter(({ mode, targets }) => mode === 'mesh' || targets.length > 0)
  if (own.some(({ mode }) => mode === 'mesh') && !present.hasLoadBalancer)
    found('ports are published in the mesh, but this host has no load balancer')
  for (const port of own) {
    const name = nameOf(port)
    if (!present.published.has(name)) found(`service "${port.service}": this host does not answer at ${name}`)
    if (port.mode === 'mesh' && !present.hasLoadBalancer) continue
    const slots = present[port.mode].get(name) ?? new Map<string, number>()
    const targets = port.targets.map(target => formatTarget(target.address, target.port))
    const missing = targets.filter(target => !slots.has(target))
    const strange = [...slots.keys()].filter(target => !targets.includes(target))
    if (missing.length > 0)
      found(`service "${port.service}": no connections at ${name} are led to ${shortList(missing)}`)
    if (strange.length > 0)
      found(`service "${port.service}": connections at ${name} are led to ${shortList(strange)}, no replica of it`)
  }
  const names = new Set(own.map(nameOf))
  const unknown = [...present.published].filter(name => !names.has(name))
  if (unknown.length > 0) found(`this host answers at ${shortList(unknown)}, which nobody has published`)
  return findings
}

export const nameOf = ({ published, protocol }: ServedPort): string => `${published}/${protocol}`
