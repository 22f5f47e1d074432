/** Network namespaces and their sysctls. */

export {
  NetworkNamespace,
  NotANamespaceError,
  openNamespace,
  openNamespaceIfExists,
  ownNamespaceIdentity,
} from './namespace.ts'
export { readSysctl, readSysctlIfExists, writeSysctl, writeSysctlIfExists } from './sysctl.ts'
