/** Many containers at once: what locks, and work that grows with what is there already, do to throughput. */

import { alternate, type Case, noSamples, type Side, sides } from '../case.ts'
import { answer, type Command, measureCrowd } from '../process.ts'
import { bridgeConfig } from './bridge.ts'

const containers = 100
const atATime = 8

export const crowd: Case = {
  name: 'crowd',
  run(contenders, runs) {
    // A round takes seconds on the Go side.
    const rounds = Math.max(3, Math.ceil(runs / 10))
    const adds = noSamples()
    const dels = noSamples()
    const calls = Object.fromEntries(
      sides.map(side => {
        const contender = contenders[side]
        const config = bridgeConfig(contender, 'crowd', true)
        const prepared = contender.host.createContainers(containers).map((netns, index) => {
          const call = { plugin: 'bridge', containerId: `crowd-${index}`, netns }
          const add = contender.prepare({ ...call, command: 'ADD', config })
          const del = (): Command =>
            contender.prepare({ ...call, command: 'DEL', config: { ...config, prevResult: JSON.parse(answer(add)) } })
          return { add, del }
        })
        return [side, prepared]
      }),
    ) as unknown as Record<Side, { add: Command; del: () => Command }[]>
    const perSecond = (milliseconds: number): number => (containers * 1000) / milliseconds
    alternate(rounds, side => {
      const contender = contenders[side]
      const add = calls[side].map(call => call.add)
      adds[side].push(perSecond(contender.inside(() => measureCrowd(add, atATime))))
      const del = calls[side].map(call => call.del())
      dels[side].push(perSecond(contender.inside(() => measureCrowd(del, atATime))))
    })
    const what = `${containers} containers, ${atATime} at a time, masquerade`
    return [
      { what: `ADDs, ${what}`, unit: 'per s', ...adds, target: 'at least 3' },
      { what: `DELs, ${what}`, unit: 'per s', ...dels, target: 'at least 4' },
    ]
  },
}
