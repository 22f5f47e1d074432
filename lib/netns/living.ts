/** All the namespaces that can be found: those with a name and those with a process. Not for the common path. */

import { listDirectory, statusOf } from '../sys/file.ts'
import { namespaceDirectory } from './named.ts'
import { type NetworkNamespace, openNamespace } from './namespace.ts'

/** One path for each, a name before a process. Namespaces that are kept by nothing but a descriptor are not found. */
export function findNamespaces(): string[] {
  const paths = [
    ...(listDirectory(namespaceDirectory) ?? []).sort().map(name => `${namespaceDirectory}/${name}`),
    ...(listDirectory('/proc') ?? []).filter(name => Number(name) > 0).map(pid => `/proc/${pid}/ns/net`),
  ]
  const found = new Map<string, string>()
  for (const path of paths) {
    const identity = identityOf(path)
    if (identity !== undefined && !found.has(identity)) found.set(identity, path)
  }
  return [...found.values()]
}

/** Opens them one after the other, until a visit returns something. One that cannot be opened any more is left out. */
export function visitNamespaces<T>(visit: (namespace: NetworkNamespace) => T | undefined): T | undefined {
  for (const path of findNamespaces()) {
    const namespace = openIfPossible(path)
    if (namespace === undefined) continue
    try {
      const found = visit(namespace)
      if (found !== undefined) return found
    } finally {
      namespace.close()
    }
  }
  return undefined
}

/** Namespaces and processes come and go while they are looked at. */
function openIfPossible(path: string): NetworkNamespace | undefined {
  try {
    return openNamespace(path)
  } catch {
    return undefined
  }
}

/** Undefined for what vanished meanwhile, and for processes that may not be looked at. */
function identityOf(path: string): string | undefined {
  try {
    return statusOf(path)?.identity
  } catch {
    return undefined
  }
}
