/** What a process costs before it does anything: the floor under every other row. */

import { alternate, type Case, noSamples } from '../case.ts'
import { type Command, measure } from '../process.ts'

export const start: Case = {
  name: 'start',
  run(contenders, runs) {
    const version = noSamples()
    const nothing = noSamples()
    const commands = (['go', 'ours'] as const).map(side => {
      const [netns = contenders[side].host] = contenders[side].host.createContainers(1)
      const call = { command: 'VERSION', plugin: 'bridge', config: {}, containerId: 'none', netns } as const
      return [side, contenders[side].prepare(call)] as const
    })
    const bySide = Object.fromEntries(commands) as Record<'go' | 'ours', Command>
    for (const command of Object.values(bySide)) measure(command)
    alternate(runs, side => {
      nothing[side].push(measure({ ...bySide[side], path: '/bin/true', argv: ['/bin/true'] }))
      version[side].push(measure(bySide[side]))
    })
    return [
      { what: '`/bin/true`, for comparison', unit: 'ms', ...nothing },
      { what: 'VERSION: start and end of the process', unit: 'ms', ...version },
    ]
  },
}
