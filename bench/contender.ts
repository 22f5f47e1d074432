/** The two sides of the comparison, each with a host of its own. */

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openNamespace } from '../lib/netns/index.ts'
import {
  createHost,
  goPluginDirectory,
  type Host,
  type NetworkNamespace,
  pluginDirectory,
  programPath,
} from '../test/harness/index.ts'
import type { Command } from './process.ts'

export interface Invocation {
  readonly command: 'ADD' | 'DEL' | 'CHECK' | 'VERSION'
  readonly plugin: string
  readonly config: object
  readonly containerId: string
  readonly netns: NetworkNamespace
}

export class Contender {
  readonly name: 'go' | 'ours'
  readonly host: Host
  readonly #directory: string
  #files = 0

  constructor(name: 'go' | 'ours') {
    this.name = name
    this.host = createHost()
    this.#directory = name === 'go' ? goPluginDirectory : pluginDirectory
  }

  /** A call of a plugin, everything that it reads written down beforehand. */
  prepare({ command, plugin, config, containerId, netns }: Invocation): Command {
    const output = join(this.host.directory, `call-${++this.#files}`)
    const input = join(output, 'stdin')
    mkdirSync(output)
    writeFileSync(input, JSON.stringify(config))
    const path = join(this.#directory, plugin)
    const environment = {
      CNI_COMMAND: command,
      CNI_CONTAINERID: containerId,
      CNI_NETNS: netns.path,
      CNI_IFNAME: 'eth0',
      CNI_PATH: this.#directory,
      // The Go plugins look for iptables.
      PATH: programPath,
    }
    return { path, argv: [path], environment, input, output }
  }

  /** Runs a function with this contender's host as the network of this process and its children. */
  inside<T>(run: () => T): T {
    const namespace = openNamespace(this.host.path)
    try {
      return namespace.run(run)
    } finally {
      namespace.close()
    }
  }
}
