/** Services as nftables of this host has them, and as the agent knows them, side by side. */

import { setTimeout as pause } from 'node:timers/promises'
import { CniError } from '../../lib/cni/errors.ts'
import { callAgent } from '../../lib/overlay/agent-client.ts'
import type { ServicesAnswer } from '../../lib/overlay/agent-protocol.ts'
import { compareServices } from './compare-services.ts'
import type { Finding } from './finding.ts'
import { type LocalServices, localServices } from './local-services.ts'

/** What the agent says. */
export interface KnownServices {
  /** This host's name. */
  readonly node: string
  readonly services: ServicesAnswer
}

export interface ServiceSurvey {
  readonly present: LocalServices
  /** Undefined when the agent was not heard: a finding says why. */
  readonly known: KnownServices | undefined
  readonly findings: readonly Finding[]
}

/** For changes that are on their way to the kernel; a load balancer is made by a process. */
const SETTLE_MS = 500

/** @throws NetlinkError, SysError */
export async function surveyServices(socket: string): Promise<ServiceSurvey> {
  const first = look(socket)
  if (first.known === undefined || first.findings.length === 0) return first
  await pause(SETTLE_MS)
  return look(socket)
}

function look(socket: string): ServiceSurvey {
  const present = localServices()
  try {
    const services = callAgent(socket, 'services', {})
    const { node } = callAgent(socket, 'networks', {})
    return { present, known: { node, services }, findings: compareServices(present, services.ports) }
  } catch (error) {
    if (!(error instanceof CniError)) throw error
    const what = `which services there are is not known: ${error.message}`
    const remedy = error.details ?? 'journalctl -u overlayd says why'
    return { present, known: undefined, findings: [{ gravity: 'error', what, remedy }] }
  }
}
