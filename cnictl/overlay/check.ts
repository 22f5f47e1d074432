/** `cnictl overlay check`: everything that can be examined from this host, what is wrong with it, and what mends it. */

import { withHostSocket } from '../../lib/attachment/sockets.ts'
import type { Command, Context } from '../command.ts'
import { switchOption } from '../options.ts'
import { paragraphs } from '../render/table.ts'
import { checkAgent, checkFirewall, checkOffload, checkUnderlay } from './check-host.ts'
import { byGravity, type Finding, findingLines, hasError } from './finding.ts'
import { missingFeatures } from './kernel-features.ts'
import type { LocalNetwork } from './local-network.ts'
import { type OverlaySources, overlayOptions, probeOption, readSources } from './options.ts'
import { peerFindings, peersOfNetwork } from './peers-of-network.ts'
import { type Survey, survey } from './survey.ts'
import { surveyServices } from './survey-services.ts'
import { checkTunnelPorts } from './tunnel-port.ts'
import { VXLAN_PORT } from './wanted-network.ts'

export const check: Command = {
  name: 'check',
  summary: 'find what is wrong with the overlay networks of this host, and say what mends it',
  description:
    'Examines the kernel (features are tried out in a network namespace made for it), the agent, the tunnel ports and ' +
    'who has them, firewalls of others, every network on this host with its tables, every peer and the way to it, and ' +
    'the services. What is wrong is told in the order of its gravity, each with the command that mends it. Exit code 1 ' +
    'when there is an error; warnings and hints leave it at 0.',
  arguments: [],
  options: [probeOption, ...overlayOptions],
  examples: [
    { line: 'cnictl overlay check', does: 'when something does not work, or before the first network' },
    { line: 'cnictl overlay check --json | jq \'.findings[] | select(.gravity == "error")\'', does: 'for monitoring' },
  ],
  run: async (input, context) => {
    const sources = readSources(input, context)
    const surveyed = await survey(sources)
    const here = surveyed.networks.flatMap(({ present, wanted }) =>
      present === undefined ? [] : [{ present, wanted }],
    )
    const probe = !switchOption(input, 'withoutProbe')
    const tunnels = here.length === 0 ? [] : await checkPeers(here, probe, context)
    const services = surveyed.agentError === undefined ? await surveyServices(sources.socket) : { findings: [] }
    const found = [...checkHost(sources, surveyed), ...tunnels.flatMap(one => one.findings), ...services.findings]
    const findings = byGravity(found)
    const networks = here.map(({ present }) => present.network)
    const peers = tunnels.reduce((sum, one) => sum + one.asked, 0)
    return {
      document: { networks, peersAsked: peers, findings },
      text: paragraphs([summary(networks.length, peers, findings)], findingLines(findings)),
      failed: hasError(findings),
    }
  },
}

type Here = { readonly present: LocalNetwork; readonly wanted: Survey['networks'][number]['wanted'] }

async function checkPeers(networks: readonly Here[], probe: boolean, { signal }: Context) {
  const checked: { asked: number; findings: Finding[] }[] = []
  for (const { present, wanted } of networks) {
    const peers = await peersOfNetwork(present, wanted, { probe, signal })
    const asked = peers.filter(({ state }) => state !== 'not asked').length
    checked.push({ asked, findings: peerFindings(present, peers) })
  }
  return checked
}

function checkHost({ socket }: OverlaySources, { networks, agentError }: Survey): Finding[] {
  const present = networks.flatMap(one => (one.present === undefined ? [] : [one.present]))
  const tunnels = present.flatMap(({ tunnel }) => (tunnel === undefined ? [] : [tunnel]))
  const own = new Set(tunnels.filter(({ up }) => up).map(({ port }) => port))
  const wanted = networks.flatMap(one => (one.wanted === undefined ? [] : [one.wanted.port]))
  const ports = [...new Set([...tunnels.map(({ port }) => port), ...wanted])].sort((a, b) => a - b)
  const needsAgent = tunnels.some(({ controlPlane }) => controlPlane === 'etcd')
  const locals = tunnels.flatMap(({ local }) => (local === undefined ? [] : [local]))
  return withHostSocket(host => [
    ...missingFeatures(),
    ...checkAgent(socket, agentError, needsAgent),
    // On a host without networks: whether one could come.
    ...checkTunnelPorts(host, ports.length === 0 ? [VXLAN_PORT] : ports, own),
    ...networks.flatMap(({ findings }) => findings),
    ...present.flatMap(network => checkUnderlay(host, network)),
    ...checkFirewall(host, ports),
    ...checkOffload(host, locals),
  ])
}

function summary(networks: number, peers: number, findings: readonly Finding[]): string {
  const looked = `${count(networks, 'overlay network')} on this host, ${count(peers, 'peer')} asked`
  if (findings.length === 0) return `${looked}: everything is in order`
  const errors = findings.filter(({ gravity }) => gravity === 'error').length
  return `${looked}: ${count(errors, 'error')}, ${count(findings.length - errors, 'warning or hint', 'warnings and hints')}`
}

const count = (number: number, noun: string, plural = `${noun}s`): string => `${number} ${number === 1 ? noun : plural}`
