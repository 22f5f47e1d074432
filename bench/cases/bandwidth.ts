/** Limits in both directions for one container behind a bridge: the chain of the two plugins, as runtimes run it. */

import type { NetworkNamespace } from '../../test/harness/index.ts'
import { alternate, type Case, noSamples } from '../case.ts'
import type { Contender } from '../contender.ts'
import { answer, measure } from '../process.ts'

const network = { cniVersion: '1.0.0', name: 'limited' }
const limits = { ingressRate: 100e6, ingressBurst: 8e6, egressRate: 100e6, egressBurst: 8e6 }

interface Timing {
  readonly add: number
  readonly del: number
  readonly chainAdd: number
  readonly chainDel: number
}

/** A new veth each time: the Go plugin leaves its limits on the one that it has limited. */
function once(contender: Contender, netns: NetworkNamespace): Timing {
  const bridge = {
    ...network,
    type: 'bridge',
    bridge: 'limited0',
    isGateway: true,
    ipam: { type: 'host-local', subnet: '10.76.0.0/16', dataDir: contender.host.dataDirectory },
  }
  const bandwidth = { ...network, type: 'bandwidth', ...limits }
  const run = (config: { type: string }, command: 'ADD' | 'DEL', prevResult?: unknown) => {
    const call = { plugin: config.type, containerId: 'limited-one', netns, command }
    const prepared = contender.prepare({ ...call, config: { ...config, prevResult } })
    const elapsed = measure(prepared)
    return { elapsed, result: command === 'ADD' ? JSON.parse(answer(prepared)) : undefined }
  }
  return contender.inside(() => {
    const first = run(bridge, 'ADD')
    const second = run(bandwidth, 'ADD', first.result)
    const third = run(bandwidth, 'DEL', second.result)
    const last = run(bridge, 'DEL', second.result)
    return {
      add: second.elapsed,
      del: third.elapsed,
      chainAdd: first.elapsed + second.elapsed,
      chainDel: third.elapsed + last.elapsed,
    }
  })
}

export const bandwidth: Case = {
  name: 'bandwidth',
  run(contenders, runs) {
    const samples = { add: noSamples(), del: noSamples(), chainAdd: noSamples(), chainDel: noSamples() }
    const containers = { go: contenders.go.host.createContainer(), ours: contenders.ours.host.createContainer() }
    alternate(runs + 1, (side, round) => {
      const timing = once(contenders[side], containers[side])
      // The first reads the executables from the disk.
      if (round === 0) return
      for (const what of ['add', 'del', 'chainAdd', 'chainDel'] as const) samples[what][side].push(timing[what])
    })
    return [
      { what: 'bandwidth ADD, both directions', unit: 'ms', ...samples.add },
      { what: 'bandwidth DEL', unit: 'ms', ...samples.del },
      { what: 'bridge and bandwidth ADD', unit: 'ms', ...samples.chainAdd },
      { what: 'bandwidth and bridge DEL', unit: 'ms', ...samples.chainDel },
    ]
  },
}
