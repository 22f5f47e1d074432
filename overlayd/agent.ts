/** The agent: its parts put together, started in an order in which running traffic is never touched, and stopped. */

import { CniError, ErrorCode } from '../lib/cni/errors.ts'
import { Attachments } from './attachments.ts'
import type { AgentContext, ModuleHandle } from './context.ts'
import { DeadNodes } from './dead-nodes.ts'
import { Endpoints } from './endpoints.ts'
import { EtcdClient } from './etcd/client.ts'
import { keys } from './etcd/keys.ts'
import { NodeLease } from './etcd/lease.ts'
import { Store } from './etcd/store.ts'
import { MonitoringServer } from './http.ts'
import { Log } from './log.ts'
import { OverlayMetrics } from './metrics.ts'
import { modules } from './modules.ts'
import { Networks } from './networks.ts'
import { findTunnelAddress, registerNode } from './node.ts'
import type { NodeRecord } from './records.ts'
import { AgentServer } from './server.ts'
import type { Settings } from './settings.ts'
import { Spool } from './spool.ts'

const RETRY_MS = 1_000
const SPOOL_SECONDS = 2
const LONGEST_REVIEW_SECONDS = 60

export class Agent {
  readonly #settings: Settings
  readonly #version: string
  readonly #log: Log
  readonly #metrics = new OverlayMetrics()
  readonly #server: AgentServer
  readonly #spool: Spool
  readonly #monitoring: MonitoringServer | undefined
  readonly #timers = new Set<NodeJS.Timeout>()
  readonly #closers: (() => void)[] = []
  #handles: readonly ModuleHandle[] = []
  #attachments: Attachments | undefined
  /** Why nothing can be served yet. */
  #waitsFor: string | undefined = 'it has just been started'
  #stopped = false

  constructor(settings: Settings, version: string) {
    this.#settings = settings
    this.#version = version
    this.#log = new Log(settings.logLevel, { node: settings.node })
    this.#spool = new Spool(this.#log)
    this.#server = new AgentServer(settings.socket, this.#log, this.#metrics)
    this.#monitoring =
      settings.metrics && new MonitoringServer(settings.metrics, this.#metrics.registry, () => this.problems())
  }

  get log(): Log {
    return this.#log
  }

  /** What is not well; nothing when all is. */
  problems(): string[] {
    if (this.#waitsFor !== undefined) return [this.#waitsFor]
    return this.#attachments?.connected ? [] : ['etcd sends no changes']
  }

  /** Returns when plugins are served. Waits for etcd as long as that takes. @throws CniError for what waiting will not mend */
  async start(): Promise<void> {
    const { node, tunnel, socket } = this.#settings
    const local = findTunnelAddress(tunnel)
    this.#server.lock()
    await this.#monitoring?.listen()
    const { context, attachments, networks, deadNodes, alive } = this.#assemble(local)
    this.#attachments = attachments
    this.#serve(attachments, networks, context)
    this.#handles = modules.map(module => module(context))
    // Before etcd answers: plugins are told why they must wait, and DEL's releases are taken.
    await this.#server.listen()
    this.#log.info('waiting for etcd', { endpoints: this.#settings.etcd.endpoints })
    await this.#persist(async () => {
      await registerNode(context.store, node, local, this.#version)
      await alive.id()
    })
    await Promise.all([attachments.ready, context.nodes.ready])
    await this.#persist(() => attachments.drain())
    await attachments.assert()
    if (this.#stopped) return
    for (const handle of this.#handles) await handle.start?.()
    this.#waitsFor = undefined
    this.#repeat(context, { attachments, networks, deadNodes })
    this.#log.info('serving', { socket, address: local, version: this.#version, networks: networks.joined.size })
  }

  /** Ends what runs. Nothing in the kernel and nothing in etcd is changed: containers go on, and so does the next agent. */
  async stop(): Promise<void> {
    this.#stopped = true
    for (const timer of this.#timers) clearTimeout(timer)
    await this.#server.close()
    for (const handle of this.#handles) await handle.stop?.()
    for (const close of this.#closers) close()
    this.#monitoring?.close()
  }

  #assemble(local: string) {
    const { node, etcd, leaseSeconds, deadAfter } = this.#settings
    const [log, metrics] = [this.#log, this.#metrics]
    const client = new EtcdClient(etcd)
    const lease = new NodeLease(client, leaseSeconds, log)
    const alive = new NodeLease(client, deadAfter, log)
    alive.hold(etcd.prefix + keys.alive(node), Buffer.from(JSON.stringify({ node })))
    const store = new Store(client, etcd.prefix, lease, log)
    const nodes = store.watch<NodeRecord>(keys.nodes, () => metrics.nodes.set(nodes.entries.size))
    const endpoints = new Endpoints({ node, local, store })
    const isUsed = (network: string): boolean => attachments.isUsed(network)
    const networks: Networks = new Networks({ node, local, store, log, metrics, isUsed })
    const attachments = new Attachments({ node, local, store, networks, endpoints, spool: this.#spool, log })
    const deadNodes = new DeadNodes({ node, nodes, store, log }, endpoints)
    const closers = [attachments, networks, nodes, lease, alive, client]
    this.#closers.push(...closers.map(part => () => part.close()))
    const context: AgentContext = {
      node,
      local,
      settings: this.#settings,
      store,
      log,
      metrics: metrics.registry,
      nodes,
      serve: (verb, handler) =>
        this.#server.serve(verb, request => {
          this.#refuseEarly()
          return handler(request)
        }),
      join: request => attachments.join(request),
      publish: request => attachments.publish(request),
      withdraw: attachment => attachments.withdraw(attachment),
      onPublish: hook => endpoints.publishHooks.push(hook),
      onWithdraw: hook => endpoints.withdrawHooks.push(hook),
      onNodeDead: hook => deadNodes.hooks.push(hook),
      every: (seconds, name, run) => this.#every(seconds, name, run),
    }
    return { context, attachments, networks, deadNodes, alive }
  }

  #serve(attachments: Attachments, networks: Networks, { serve, store, node, local }: AgentContext): void {
    serve('join', request => attachments.join(request))
    serve('publish', async request => {
      await attachments.publish(request)
      return {}
    })
    serve('check', async request => {
      await attachments.check(request)
      return {}
    })
    serve('gc', async request => ({ removed: await attachments.gc(request) }))
    serve('networks', async () => ({
      node,
      local,
      networks: [...networks.joined.values()].map(joined => joined.describe()),
    }))
    this.#server.serve('withdraw', async request => {
      if (this.#waitsFor === undefined) await attachments.withdraw(request)
      else this.#spool.add(request)
      return {}
    })
    this.#server.serve('status', async () => {
      try {
        this.#refuseEarly()
        await store.get(keys.node(node))
        return {}
      } catch (error) {
        if (!(error instanceof CniError)) throw error
        throw new CniError(ErrorCode.unavailable, error.message, error.details, { cause: error })
      }
    })
  }

  /** @throws CniError code 11 */
  #refuseEarly(): void {
    if (this.#waitsFor === undefined) return
    throw new CniError(
      ErrorCode.tryAgainLater,
      `overlayd cannot serve yet: ${this.#waitsFor}`,
      'try again; etcd must be reachable with a majority of its members',
    )
  }

  #repeat(
    { every }: AgentContext,
    parts: { attachments: Attachments; networks: Networks; deadNodes: DeadNodes },
  ): void {
    const { attachments, networks, deadNodes } = parts
    const { reconcileSeconds, deadAfter } = this.#settings
    every(SPOOL_SECONDS, 'drain the spool', async () => {
      this.#metrics.spooled.set(this.#spool.size)
      await attachments.drain()
    })
    every(reconcileSeconds, 'compare tables', async () => {
      for (const joined of networks.joined.values()) joined.reconcile(true)
      await attachments.leaveUnused()
      await attachments.assert()
    })
    every(Math.min(LONGEST_REVIEW_SECONDS, deadAfter / 2), 'look for dead nodes', () => deadNodes.review())
  }

  #every(seconds: number, name: string, run: () => Promise<void>): void {
    const again = () => {
      if (this.#stopped) return
      const timer = setTimeout(() => {
        this.#timers.delete(timer)
        run()
          .catch(error => {
            this.#metrics.failures.inc({ what: name })
            this.#log.warn(`failed: ${name}`, { error })
          })
          .finally(again)
      }, seconds * 1000)
      this.#timers.add(timer)
    }
    again()
  }

  /** Tries until it succeeds. A conflict is the operator's to end. @throws CniError code 104 */
  async #persist(run: () => Promise<void>): Promise<void> {
    while (!this.#stopped) {
      try {
        return await run()
      } catch (error) {
        if (error instanceof CniError && error.code === ErrorCode.conflict) throw error
        const reason = error instanceof Error ? error.message : String(error)
        if (reason !== this.#waitsFor) this.#log.warn('waiting', { error })
        this.#waitsFor = reason
        await new Promise(resolve => setTimeout(resolve, RETRY_MS))
      }
    }
  }
}
