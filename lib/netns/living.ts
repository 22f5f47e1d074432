/** All the namespaces that can be found: those with a name and those with a process. Not for the common path. */

import { listDirectory, statusOf } from '../sys/file.ts'
import { namespaceDirectory } from './named.ts'

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

/** Undefined for what vanished meanwhile, and for processes that may not be looked at. */
function identityOf(path: string): string | undefined {
  try {
    return statusOf(path)?.identity
  } catch {
    return undefined
  }
}
