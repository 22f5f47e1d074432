/** Where the milliseconds go: each row does one thing more than the row before. */

import { alternate, type Case, noSamples, type Row, type Samples, type Side, sides } from '../case.ts'
import type { Contender } from '../contender.ts'
import { measure } from '../process.ts'
import { type Attachment, attachmentOf } from './attachment.ts'
import { bridgeConfig } from './bridge.ts'

const steps: readonly { readonly what: string; readonly without: object }[] = [
  { what: 'a port on a bridge', without: { ipam: undefined, isDefaultGateway: undefined, ipMasq: undefined } },
  { what: 'and an address of host-local', without: { isDefaultGateway: undefined, ipMasq: undefined } },
  { what: 'and the gateway', without: { ipMasq: undefined } },
  { what: 'and masquerade', without: {} },
]

const attachments = (contender: Contender): Attachment[] =>
  steps.map(({ without }, index) =>
    attachmentOf(contender, 'bridge', { ...bridgeConfig(contender, `steps-${index}`, true), ...without }, 'one'),
  )

export const stepByStep: Case = {
  name: 'steps',
  run(contenders, runs) {
    const both: Record<Side, Attachment[]> = { go: attachments(contenders.go), ours: attachments(contenders.ours) }
    const starts = noSamples()
    const timings: Record<'add' | 'del', Samples>[] = steps.map(() => ({ add: noSamples(), del: noSamples() }))
    const versions = sides.map(side => {
      const call = { plugin: 'bridge', config: {}, containerId: 'none', netns: contenders[side].host }
      return [side, contenders[side].prepare({ ...call, command: 'VERSION' })] as const
    })
    alternate(runs, side => {
      for (const [whose, version] of versions) if (whose === side) starts[side].push(measure(version))
      for (const [index, attachment] of both[side].entries()) {
        const timing = attachment.time()
        timings[index]?.add[side].push(timing.add)
        timings[index]?.del[side].push(timing.del)
      }
    })
    const rows = (verb: 'add' | 'del'): Row[] => [
      { what: `${verb.toUpperCase()} step by step: start and end of the process`, unit: 'ms', ...starts },
      ...timings.flatMap((timing, index) => {
        const what = `${verb.toUpperCase()}: ${steps[index]?.what}`
        return [{ what, unit: 'ms' as const, ...timing[verb] }]
      }),
    ]
    return [...rows('add'), ...rows('del')]
  },
}
