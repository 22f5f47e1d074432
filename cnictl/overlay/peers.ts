/** `cnictl overlay peers`: the other hosts of a network, and the way to them. */

import type { Command } from '../command.ts'
import { UsageError } from '../command.ts'
import { switchOption } from '../options.ts'
import { paragraphs, table } from '../render/table.ts'
import { findingLines, hasError } from './finding.ts'
import { overlayOptions, probeOption, readSources } from './options.ts'
import { type Peer, peerFindings, peersOfNetwork } from './peers-of-network.ts'
import { type SurveyedNetwork, survey } from './survey.ts'

export const peers: Command = {
  name: 'peers',
  summary: 'show the other hosts of a network: whether they answer, and what leads to them',
  description:
    'Sends ICMP echo requests from the tunnel address to every peer: one as large as the largest packet of the tunnel, ' +
    'not to be fragmented, and where that does not get there others, until it is known what does. A datagram to the ' +
    'tunnel port tells whether a tunnel is there. The entries that lead to the peer are compared with those that are ' +
    'wanted. Exit code 1 when something is out of order.',
  arguments: [{ name: 'network', description: 'name of the network' }],
  options: [probeOption, ...overlayOptions],
  examples: [
    { line: 'cnictl overlay peers web', does: 'ask all hosts of network "web"' },
    { line: 'cnictl overlay peers web --without-probe', does: 'only compare tables' },
    {
      line: 'cnictl overlay peers web --json | jq \'.peers[] | select(.state != "answers")\'',
      does: 'those that do not answer',
    },
  ],
  run: async (input, context) => {
    const { networks, agentError } = await survey(readSources(input, context))
    const { present, wanted, findings } = findNetwork(networks, input.arguments[0] ?? '')
    if (present.tunnel?.controlPlane === 'etcd' && agentError !== undefined) context.warn(agentError.message)
    const probe = !switchOption(input, 'withoutProbe')
    const found = await peersOfNetwork(present, wanted, { probe, signal: context.signal })
    const all = [...findings, ...peerFindings(present, found)]
    const { network } = present
    return {
      document: { network, peers: found, findings: all },
      text: paragraphs(
        found.length === 0 ? [`network ${network} has no other host`] : table(columns, found.map(row)),
        findingLines(all),
      ),
      failed: hasError(all),
    }
  },
}

/** @throws UsageError naming those there are */
function findNetwork(networks: readonly SurveyedNetwork[], name: string) {
  const found = networks.find(({ network }) => network === name)
  if (found?.present !== undefined) return { ...found, present: found.present }
  const names = networks.filter(({ present }) => present !== undefined).map(({ network }) => network)
  throw new UsageError(
    `no overlay network ${JSON.stringify(name)} is on this host`,
    names.length === 0 ? 'the first container of a network brings it' : `networks here: ${names.join(', ')}`,
  )
}

const columns = ['peer', 'node', 'answer', 'path mtu', 'needed', 'broadcasts', 'admitted', 'entries']

function row({ address, node, state, pathMtu, needed, flooded, admitted, entries, wanted }: Peer) {
  const known = entries.wanted === undefined ? 'learned' : `of ${entries.wanted}`
  return {
    peer: wanted === false ? `${address} (not wanted)` : address,
    node,
    answer: answers[state],
    'path mtu': pathMtu,
    needed,
    broadcasts: flooded ? 'sent' : 'no',
    admitted: admitted ? 'yes' : 'no',
    entries: `${entries.present} ${known}`,
  }
}

const answers: Readonly<Record<Peer['state'], string>> = {
  answers: 'yes',
  refuses: 'yes, no tunnel there',
  silent: 'none',
  unreachable: 'unreachable',
  'not asked': 'not asked',
}
