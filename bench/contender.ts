/** The two sides of the comparison, each with a host of its own. */

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
import { type PluginCall, pluginCommand } from './plugin-command.ts'
import type { Command } from './process.ts'

export interface Invocation extends Pick<PluginCall, 'command' | 'plugin' | 'config' | 'containerId'> {
  readonly netns: NetworkNamespace
}

export class Contender {
  readonly name: 'go' | 'ours'
  readonly host: Host
  readonly #directory: string
  #files = 0

  /** @param host one that it shares with another contender */
  constructor(name: 'go' | 'ours', host = createHost()) {
    this.name = name
    this.host = host
    this.#directory = name === 'go' ? goPluginDirectory : pluginDirectory
  }

  /** A call of a plugin, everything that it reads written down beforehand. */
  prepare({ netns, ...call }: Invocation): Command {
    return pluginCommand({
      ...call,
      netns: netns.path,
      plugins: this.#directory,
      directory: join(this.host.directory, `call-${++this.#files}`),
      // The Go plugins look for iptables.
      environment: { PATH: programPath },
    })
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
