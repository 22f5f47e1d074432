/**
 * Times ADD and DEL of several networks in turn, on the host in whose namespaces it is run: prints JSON, one object of
 * samples for each network. Usage: overlay-attachments.js <JSON of OverlayTimings>
 */

import { join } from 'node:path'
import { pluginCommand } from './plugin-command.ts'
import { answer, type Command, measure } from './process.ts'

export interface OverlayTimings {
  readonly runs: number
  /** Of the executables. */
  readonly plugins: string
  /** For what the plugins read and print. */
  readonly directory: string
  readonly netns: string
  readonly configs: readonly { readonly type: string; readonly name: string }[]
}

export interface AttachmentSamples {
  readonly add: number[]
  readonly del: number[]
}

const { runs, plugins, directory, netns, configs }: OverlayTimings = JSON.parse(process.argv[2] ?? '{}')

function prepare(config: OverlayTimings['configs'][number], command: 'ADD' | 'DEL', more: object = {}): Command {
  return pluginCommand({
    plugins,
    plugin: config.type,
    command,
    config: { ...config, ...more },
    containerId: 'bench',
    netns,
    directory: join(directory, `${config.name}-${command}`),
  })
}

const all = configs.map(config => {
  const add = prepare(config, 'ADD')
  measure(add)
  const del = prepare(config, 'DEL', { prevResult: JSON.parse(answer(add)) })
  measure(del)
  return { add, del, samples: { add: [], del: [] } as AttachmentSamples }
})
for (let run = 0; run < runs; run++) {
  for (const { add, del, samples } of run % 2 === 0 ? all : all.toReversed()) {
    samples.add.push(measure(add))
    samples.del.push(measure(del))
  }
}
console.log(JSON.stringify(all.map(({ samples }) => samples)))
