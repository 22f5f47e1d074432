/** `cnictl overlay networks`: the overlay networks of this host. */

import { formatAddress } from '../../lib/address/address.ts'
import type { Command } from '../command.ts'
import { paragraphs, table } from '../render/table.ts'
import { findingLines, hasError } from './finding.ts'
import { overlayOptions, readSources } from './options.ts'
import { type SurveyedNetwork, survey } from './survey.ts'

export const networks: Command = {
  name: 'networks',
  summary: "list this host's overlay networks, as they are and as they are wanted",
  description:
    'Reads from the kernel which overlay networks are on this host, with their tunnels, peers and containers, and ' +
    'compares with what the agent has from etcd, or for a list of peers with the configuration. Exit code 1 when ' +
    'something is out of order.',
  arguments: [],
  options: overlayOptions,
  examples: [
    { line: 'cnictl overlay networks', does: 'list them' },
    { line: "cnictl overlay networks --json | jq -r '.networks[].vni'", does: 'their numbers, for a script' },
  ],
  run: async (input, context) => {
    const { networks: found, agent, agentError } = await survey(readSources(input, context))
    const findings = found.flatMap(one => one.findings)
    if (found.some(isAgents) && agentError !== undefined) context.warn(agentError.message)
    return {
      document: { agent, networks: found.map(describe), findings },
      text:
        found.length === 0
          ? 'no overlay network is on this host'
          : paragraphs(table(columns, found.map(row)), findingLines(findings)),
      failed: hasError(findings),
    }
  },
}

const isAgents = ({ present }: SurveyedNetwork): boolean => present?.tunnel?.controlPlane === 'etcd'

function describe({ network, present, wanted, findings }: SurveyedNetwork) {
  const tunnel = present?.tunnel
  return {
    network,
    namespace: present?.namespace,
    controlPlane: wanted?.controlPlane ?? tunnel?.controlPlane,
    vni: tunnel?.vni ?? wanted?.vni,
    port: tunnel?.port ?? wanted?.port,
    local: tunnel?.local && formatAddress(tunnel.local),
    group: tunnel?.group && formatAddress(tunnel.group),
    mtu: tunnel?.mtu,
    hosts: wanted?.hosts && [...wanted.hosts].map(([address, node]) => ({ address, node })),
    entries: tunnel && { present: tunnel.rows.size, wanted: wanted?.rows?.size },
    containers: present?.attachments ?? [],
    state: stateOf({ present, wanted, findings }),
  }
}

function stateOf({ present, wanted, findings }: Omit<SurveyedNetwork, 'network'>): string {
  if (present === undefined) return 'no container here'
  if (findings.length > 0) return wanted === undefined ? 'not compared' : 'differs'
  return 'in order'
}

const columns = ['network', 'control plane', 'vni', 'port', 'local', 'mtu', 'hosts', 'entries', 'containers', 'state']

function row(surveyed: SurveyedNetwork) {
  const { controlPlane, hosts, entries, containers, ...rest } = describe(surveyed)
  return {
    ...rest,
    'control plane': controlPlane,
    // With this host.
    hosts: hosts === undefined ? undefined : hosts.length + 1,
    entries: entries && (entries.wanted === undefined ? entries.present : `${entries.present}/${entries.wanted}`),
    containers: containers.length,
  }
}
