/** Namespaces with a name, as `ip netns` keeps them: mounted on files in /run/netns. */

import { libc } from '#libc'
import { cString } from '../sys/bytes.ts'
import { attempt } from '../sys/call.ts'
import { Errno, SysError } from '../sys/errno.ts'
import {
  close,
  listDirectory,
  makeDirectories,
  O,
  open,
  openExclusive,
  unlinkIfExists,
  withDescriptor,
} from '../sys/file.ts'
import { lockDescriptor } from '../sys/lock.ts'
import { currentNamespacePath, runInNewNamespace } from './enter.ts'
import { openNamespaceIfExists } from './namespace.ts'

export const namespaceDirectory = '/run/netns'

/** linux/mount.h */
const MS_BIND = 0x1000
const MS_REC = 0x4000
const MS_SHARED = 1 << 20
const MNT_DETACH = 2

/** Where the namespace of that name is. @throws RangeError for what cannot be a name */
export function namespacePath(name: string): string {
  if (!/^[^/\0]{1,255}$/.test(name) || name === '.' || name === '..')
    throw new RangeError(`${JSON.stringify(name)} cannot be the name of a network namespace`)
  return `${namespaceDirectory}/${name}`
}

/** Makes a namespace, empty but for a loopback interface that is down. @returns its path @throws SysError, EEXIST */
export function createNamespace(name: string): string {
  const path = namespacePath(name)
  prepareDirectory()
  const fd = openExclusive(path, 0)
  if (fd === undefined) throw new SysError(`create network namespace ${JSON.stringify(name)}`, Errno.EEXIST)
  close(fd)
  try {
    runInNewNamespace(() => mount(currentNamespacePath, path, MS_BIND))
  } catch (error) {
    unlinkIfExists(path)
    throw error
  }
  return path
}

/** Takes the name away; the namespace goes when nothing uses it any more. @returns whether there was one @throws SysError */
export function deleteNamespace(name: string): boolean {
  const path = namespacePath(name)
  const target = cString(path)
  // EINVAL: a file on which nothing is mounted.
  attempt(
    [Errno.EINVAL, Errno.ENOENT],
    () => `unmount ${JSON.stringify(path)}`,
    () => libc.umount2(target, MNT_DETACH),
  )
  return unlinkIfExists(path)
}

export interface NamedNamespace {
  readonly name: string
  readonly path: string
  readonly identity: string
}

/** In alphabetical order; files that are no namespaces are left out. @throws SysError */
export function listNamespaces(): NamedNamespace[] {
  const found: NamedNamespace[] = []
  for (const name of (listDirectory(namespaceDirectory) ?? []).sort()) {
    const path = namespacePath(name)
    const namespace = openNamespaceIfExists(path)
    if (namespace === undefined) continue
    found.push({ name, path, identity: namespace.identity })
    namespace.close()
  }
  return found
}

/**
 * Makes the directory a shared mount: only then do namespaces that are deleted here vanish from the mount namespaces of
 * other processes too, instead of being kept alive there.
 */
function prepareDirectory(): void {
  makeDirectories(namespaceDirectory)
  withDescriptor(open(namespaceDirectory, O.RDONLY), fd => {
    // As iproute2 does: two at once would mount the directory twice.
    lockDescriptor(fd, namespaceDirectory)
    // EINVAL: it is no mount yet.
    if (tryMount('', namespaceDirectory, MS_SHARED | MS_REC) >= 0) return
    mount(namespaceDirectory, namespaceDirectory, MS_BIND | MS_REC)
    mount('', namespaceDirectory, MS_SHARED | MS_REC)
  })
}

function tryMount(source: string, target: string, flags: number): number {
  const [from, to, kind] = [cString(source), cString(target), cString('none')]
  return attempt(
    [Errno.EINVAL],
    () => `mount ${JSON.stringify(source)} on ${JSON.stringify(target)}`,
    () => libc.mount(from, to, kind, flags, null),
  )
}

function mount(source: string, target: string, flags: number): void {
  if (tryMount(source, target, flags) < 0)
    throw new SysError(`mount ${JSON.stringify(source)} on ${JSON.stringify(target)}`, Errno.EINVAL)
}
