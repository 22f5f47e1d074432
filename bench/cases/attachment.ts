/** ADD and DEL of one attachment, again and again in the same namespace, as a runtime does them. */

import { alternate, type Contenders, noSamples, type Samples, type Side } from '../case.ts'
import type { Contender } from '../contender.ts'
import { answer, measure } from '../process.ts'

export interface Timing {
  readonly add: number
  readonly del: number
}

/** Runs a plugin's ADD and DEL alternately: DEL gets the result of ADD, as libcni hands it back. */
export function attachmentOf(contender: Contender, plugin: string, config: object, containerId: string) {
  const netns = contender.host.createContainer()
  const call = { plugin, containerId, netns }
  const add = contender.prepare({ ...call, command: 'ADD', config })
  contender.inside(() => measure(add))
  const prevResult = JSON.parse(answer(add))
  const del = contender.prepare({ ...call, command: 'DEL', config: { ...config, prevResult } })
  contender.inside(() => measure(del))
  return {
    add,
    del,
    time: (): Timing => contender.inside(() => ({ add: measure(add), del: measure(del) })),
  }
}

export type Attachment = ReturnType<typeof attachmentOf>

/** One attachment on each side. */
export function onBothSides(
  contenders: Contenders,
  make: (contender: Contender) => Attachment,
): Record<Side, Attachment> {
  return { go: make(contenders.go), ours: make(contenders.ours) }
}

/** Times ADD and DEL of both sides in turn. */
export function timeInTurn(both: Record<Side, Attachment>, runs: number): Record<'add' | 'del', Samples> {
  const add = noSamples()
  const del = noSamples()
  alternate(runs, side => {
    const timing = both[side].time()
    add[side].push(timing.add)
    del[side].push(timing.del)
  })
  return { add, del }
}
