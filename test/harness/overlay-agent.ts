/** overlayd on a host of a cluster. */

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Child } from './children.ts'
import type { ClusterHost } from './cluster.ts'
import type { Etcd } from './etcd.ts'
import type { Outcome } from './execute.ts'
import { pluginDirectory } from './paths.ts'

export class OverlayAgent {
  readonly host: ClusterHost
  readonly #settings: string
  #child: Child | undefined

  /** @param settings keys beyond, or other than, those for a short test */
  constructor(host: ClusterHost, etcd: Etcd, settings: object = {}) {
    this.host = host
    mkdirSync(join(host.directory, 'settings'), { recursive: true })
    this.#settings = join(host.directory, 'settings', 'overlayd.yaml')
    const defaults = {
      node: this.node,
      address: host.underlay.ipv4,
      etcd: etcd.settings,
      leaseSeconds: 5,
      deadAfter: 600,
      reconcileSeconds: 3600,
      logLevel: 'debug',
      mesh: { pluginDirectory },
    }
    // JSON is YAML.
    writeFileSync(this.#settings, JSON.stringify({ ...defaults, ...settings }))
  }

  get node(): string {
    return `node-${this.host.number}`
  }

  /** Everything it has logged since it was started. */
  get said(): string {
    return this.#child?.said ?? ''
  }

  get pid(): number {
    return this.#child?.pid ?? 0
  }

  /** The most that it has had resident since it was started. */
  get peakBytes(): number {
    const [, kibibytes] = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${this.pid}/status`, 'latin1')) ?? []
    return Number(kibibytes) * 1024
  }

  /** Starts it, and waits until it serves unless it is not to be expected. */
  async start({ wait = true }: { readonly wait?: boolean } = {}): Promise<void> {
    this.#child = this.host.start([join(pluginDirectory, 'overlayd'), '--settings', this.#settings])
    if (wait) await this.#child.says(/"message":"serving"/)
  }

  async says(pattern: RegExp): Promise<void> {
    await this.#child?.says(pattern)
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Outcome | undefined> {
    return this.#child?.stop(signal)
  }

  /** GET from its monitoring port. */
  page(path: 'metrics' | 'health'): string {
    return this.host.output(['curl', '-sS', '--noproxy', '*', `http://127.0.0.1:9478/${path}`])
  }

  /** The sum of a metric over all its labels that match. */
  metric(name: string, labels = ''): number {
    const lines = this.page('metrics').split('\n')
    const matching = lines.filter(line => line.startsWith(`cnikit_overlayd_${name}`) && line.includes(labels))
    return matching.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0)
  }
}
