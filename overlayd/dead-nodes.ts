/**
 * Nodes that have been silent for `deadAfter`: their endpoints go, so that their addresses can be used again and nobody
 * sends to them. A node is dead when its key `alive/<node>` is gone, which etcd takes away by its own clock; every change
 * is conditional on that, so a node that comes back at that moment keeps what it has.
 *
 * Its own list of attachments stays: when it comes back with its containers running, it makes them known again.
 */

import type { AgentContext } from './context.ts'
import type { Endpoints } from './endpoints.ts'
import { keys } from './etcd/keys.ts'
import type { AttachmentRecord } from './records.ts'

export class DeadNodes {
  readonly #agent: Pick<AgentContext, 'node' | 'nodes' | 'store' | 'log'>
  readonly #endpoints: Endpoints
  readonly hooks: ((node: string) => Promise<void>)[] = []
  /** Nodes whose things are cleared away: nothing is left to be done until they have been back. */
  readonly #done = new Set<string>()

  constructor(agent: Pick<AgentContext, 'node' | 'nodes' | 'store' | 'log'>, endpoints: Endpoints) {
    this.#agent = agent
    this.#endpoints = endpoints
  }

  /** Looks for dead nodes and clears up after them. One node does it for all: the first by name of those that live. */
  async review(): Promise<void> {
    const { node: own, nodes, store, log } = this.#agent
    const alive = [...nodes.entries.keys()].map(key => key.slice(keys.nodes.length)).sort()
    if (alive[0] !== own) return
    const { entries } = await store.list(keys.allAttachments, { keysOnly: true })
    const known = new Set(entries.map(({ key }) => key.split('/')[1] ?? ''))
    for (const node of known) {
      if (alive.includes(node) || (await store.get(keys.alive(node))) !== undefined) {
        this.#done.delete(node)
      } else if (!this.#done.has(node)) {
        log.warn('a node is dead, its endpoints are removed', { dead: node })
        await this.#clear(node)
        for (const hook of this.hooks) await hook(node)
        this.#done.add(node)
      }
    }
  }

  async #clear(node: string): Promise<void> {
    const { entries } = await this.#agent.store.list<AttachmentRecord>(keys.attachments(node))
    const alsoIf = [{ key: keys.alive(node), revision: 0 }]
    for (const { value } of entries) await this.#endpoints.withdraw(value, { node, alsoIf, keep: true })
  }
}
