/** What a test in test/netns works with; start at withHost(). */

export { Child } from './children.ts'
export { Cluster, ClusterHost, type ClusterOptions, type NamedNamespace, Station, withCluster } from './cluster.ts'
export { Etcd, type EtcdOptions } from './etcd.ts'
export { execute, type Outcome, output, programPath } from './execute.ts'
export { assertUndoneBySignals, durationOfAdd, failEveryStep, interruptedAdd, leftByKilledAdds } from './faults.ts'
export { createHost, endHost, Host, withHost } from './host.ts'
export { readOnlyRoot } from './mounts.ts'
export { deleteNamespaces, NetworkNamespace } from './namespace.ts'
export { Attachment, type AttachmentOptions, families, gateways, hostLocal, Network, subnets } from './network.ts'
export { createOutside, outsideAddresses } from './outside.ts'
export { OverlayAgent } from './overlay-agent.ts'
export { goPluginDirectory, pluginDirectory, repositoryRoot } from './paths.ts'
export { ask, fetchPage, type Place, peerProgram, startPeer } from './peer.ts'
export {
  type Answer,
  answerOf,
  type ErrorDocument,
  mustRunPlugin,
  type PluginOptions,
  runPlugin,
  startPlugin,
} from './plugin.ts'
export { repetitions } from './repetitions.ts'
export { assertSameSnapshot, differences, type Snapshot, type SnapshotKind, snapshot } from './snapshot.ts'
export { until } from './until.ts'
