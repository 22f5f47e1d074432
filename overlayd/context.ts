/**
 * What a module of the agent has to work with. Modules add verbs for plugins, keys to the transactions that publish and
 * withdraw endpoints, watches and periodic work; `modules.ts` lists them.
 */

import type { Registry } from 'prom-client'
import type {
  AgentAnswer,
  AgentAttachment,
  AgentRequest,
  AgentVerb,
  JoinAnswer,
  JoinRequest,
  PublishRequest,
} from '../lib/overlay/agent-protocol.ts'
import type { Condition, Operation, Store, View } from './etcd/store.ts'
import type { Log } from './log.ts'
import type { AttachmentRecord, NodeRecord } from './records.ts'
import type { Settings } from './settings.ts'

/** What a hook adds to a transaction. */
export interface Contribution {
  readonly conditions?: readonly Condition[]
  readonly operations?: readonly Operation[]
}

/** Asked again with every attempt of the transaction; may refuse with a CniError. */
export type PublishHook = (request: PublishRequest, attachment: AttachmentRecord) => Promise<Contribution>
export type WithdrawHook = (attachment: AttachmentRecord) => Promise<Contribution>

export interface AgentContext {
  readonly node: string
  /** This host's tunnel address. */
  readonly local: string
  readonly settings: Settings
  readonly store: Store
  readonly log: Log
  readonly metrics: Registry
  /** Nodes whose lease lives. */
  readonly nodes: View<NodeRecord>
  serve<V extends AgentVerb>(verb: V, handler: (request: AgentRequest<V>) => Promise<AgentAnswer<V>>): void
  join(request: JoinRequest): Promise<JoinAnswer>
  publish(request: PublishRequest): Promise<void>
  withdraw(attachment: AgentAttachment): Promise<void>
  /** Adds to the transaction that publishes an endpoint. */
  onPublish(hook: PublishHook): void
  /** Adds to the transaction that withdraws an endpoint, of this node or of a dead one. */
  onWithdraw(hook: WithdrawHook): void
  /** Called, again and again until it succeeds, for a node that was silent for `settings.deadAfter`. */
  onNodeDead(hook: (node: string) => Promise<void>): void
  /** Work that is repeated; a failure is logged. */
  every(seconds: number, name: string, run: () => Promise<void>): void
}

export interface ModuleHandle {
  start?(): Promise<void>
  stop?(): Promise<void>
}

export type Module = (agent: AgentContext) => ModuleHandle
