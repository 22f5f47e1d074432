/** What the agent counts, for Prometheus. */

import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Outcome, WantedTables } from './kernel-tables.ts'

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
const PREFIX = 'cnikit_overlayd_'

export class OverlayMetrics {
  readonly registry = new Registry()
  readonly requestSeconds = new Histogram({
    name: `${PREFIX}request_seconds`,
    help: 'Time to answer a plugin, by verb and code of the answer (0: done).',
    labelNames: ['verb', 'code'],
    buckets: SECONDS,
    registers: [this.registry],
  })
  readonly reconcileSeconds = new Histogram({
    name: `${PREFIX}reconcile_seconds`,
    help: 'Time to bring the tables of a network in line.',
    buckets: SECONDS,
    registers: [this.registry],
  })
  readonly failures = new Counter({
    name: `${PREFIX}failures_total`,
    help: 'Work that failed and will be tried again, by kind.',
    labelNames: ['what'],
    registers: [this.registry],
  })
  readonly spooled = this.#gauge('spooled_releases', 'Releases that wait for etcd.')
  readonly networks = this.#gauge('networks', 'Networks that have a container on this host.')
  readonly nodes = this.#gauge('nodes', 'Nodes whose lease lives, this one included.')
  readonly #endpoints = this.#gauge('endpoints', 'Endpoints of a network on all hosts.', ['network'])
  readonly #rows = this.#gauge('rows', 'Rows wanted in the tables of a network.', ['network'])
  readonly #hosts = this.#gauge('hosts', 'Other hosts of a network.', ['network'])
  readonly #changes = new Counter({
    name: `${PREFIX}row_changes_total`,
    help: 'Rows written and removed.',
    labelNames: ['network', 'change'],
    registers: [this.registry],
  })
  readonly #drift = new Counter({
    name: `${PREFIX}drift_rows_total`,
    help: 'Rows that somebody else had changed when the tables were compared.',
    labelNames: ['network'],
    registers: [this.registry],
  })

  constructor() {
    const { registry } = this
    new Gauge({
      name: `${PREFIX}resident_bytes`,
      help: "The agent's resident memory.",
      registers: [registry],
      collect() {
        this.set(process.memoryUsage.rss())
      },
    })
  }

  #gauge(name: string, help: string, labelNames: string[] = []): Gauge {
    return new Gauge({ name: PREFIX + name, help, labelNames, registers: [this.registry] })
  }

  reconciled(network: string, wanted: WantedTables, endpoints: number, outcome: Outcome | undefined): void {
    this.#endpoints.set({ network }, endpoints)
    this.#rows.set({ network }, wanted.rows.size)
    this.#hosts.set({ network }, wanted.hosts.size)
    if (outcome === undefined) return
    this.#changes.inc({ network, change: 'written' }, outcome.written)
    this.#changes.inc({ network, change: 'removed' }, outcome.removed)
    this.#drift.inc({ network }, outcome.drift)
  }

  forgetNetwork(network: string): void {
    for (const gauge of [this.#endpoints, this.#rows, this.#hosts]) gauge.remove({ network })
  }
}
