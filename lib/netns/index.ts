/** Network namespaces and their sysctls. */

export { runInNewNamespace } from './enter.ts'
export { findNamespaces, visitNamespaces } from './living.ts'
export {
  createNamespace,
  deleteNamespace,
  listNamespaces,
  type NamedNamespace,
  namespaceDirectory,
  namespacePath,
} from './named.ts'
export {
  NetworkNamespace,
  NotANamespaceError,
  openNamespace,
  openNamespaceIfExists,
  openOwnNamespace,
  ownNamespaceIdentity,
} from './namespace.ts'
export { readSysctl, readSysctlIfExists, writeSysctl, writeSysctlIfExists } from './sysctl.ts'
