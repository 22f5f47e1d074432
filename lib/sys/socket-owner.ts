/** Which process has a socket. The kernel knows sockets by inode; processes show them among their open files. */

import {
  FileType,
  fileSystemType,
  listDirectory,
  O,
  openIfExists,
  readFileIfExists,
  readLink,
  statusOf,
  withDescriptor,
} from './file.ts'

export interface SocketOwner {
  readonly pid: number
  /** The process's name, 15 bytes of it (comm). */
  readonly command: string
  /** Path in the hierarchy of control groups, which names the service or the container; absent for the root. */
  readonly controlGroup: string | undefined
}

/**
 * The first process that has each of the sockets, by inode. Those of other PID namespaces and the kernel's own are not
 * found. It looks through every process's files: only for an error.
 */
export function findSocketOwners(inodes: ReadonlySet<number>): ReadonlyMap<number, SocketOwner> {
  const owners = new Map<number, SocketOwner>()
  for (const name of listDirectory('/proc') ?? []) {
    const pid = Number(name)
    if (!Number.isInteger(pid)) continue
    for (const inode of socketsOf(pid)) {
      if (inodes.has(inode) && !owners.has(inode)) owners.set(inode, describeProcess(pid))
    }
    if (owners.size === inodes.size) break
  }
  return owners
}

const SOCKET_LINK = 'socket:['

function socketsOf(pid: number): number[] {
  const inodes: number[] = []
  const files = unlessGone(() => listDirectory(`/proc/${pid}/fd`)) ?? []
  for (const file of files) {
    const target = unlessGone(() => readLink(`/proc/${pid}/fd/${file}`))
    if (target?.startsWith(SOCKET_LINK)) inodes.push(Number(target.slice(SOCKET_LINK.length, -1)))
  }
  return inodes
}

function describeProcess(pid: number): SocketOwner {
  const command = unlessGone(() => readFileIfExists(`/proc/${pid}/comm`))?.trimEnd() ?? 'ended meanwhile'
  const groups = unlessGone(() => readFileIfExists(`/proc/${pid}/cgroup`))?.split('\n') ?? []
  // "0::/system.slice/nginx.service", or with version 1 "1:name=systemd:/system.slice/nginx.service".
  const line =
    groups.find(one => one.startsWith('0::/') && one.length > 4) ?? groups.find(one => one.includes(':name='))
  const path = line?.slice(line.indexOf('/'))
  return { pid, command, controlGroup: path === '/' ? undefined : path }
}

/** A process may end, or forbid to be looked at, at any moment. */
function unlessGone<T>(look: () => T): T | undefined {
  try {
    return look()
  } catch {
    return undefined
  }
}

/** Where hosts mount version 2: alone, or beside version 1, whose hierarchies number their directories each on its own. */
const controlGroupMounts = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified'] as const
/** CGROUP2_SUPER_MAGIC, linux/magic.h */
const CONTROL_GROUPS_2 = 0x63677270

/** The path of a control group below the root, by its directory's inode; undefined for the root and where it is not found. */
export function controlGroupPath(id: bigint | undefined): string | undefined {
  const mount = controlGroupMounts.find(isControlGroups2)
  if (id === undefined || mount === undefined) return undefined
  return findDirectory(mount, id)?.slice(mount.length)
}

function isControlGroups2(path: string): boolean {
  const fd = openIfExists(path, O.RDONLY)
  return fd !== undefined && withDescriptor(fd, fileSystemType) === CONTROL_GROUPS_2
}

function findDirectory(directory: string, inode: bigint): string | undefined {
  for (const name of unlessGone(() => listDirectory(directory)) ?? []) {
    const path = `${directory}/${name}`
    const status = unlessGone(() => statusOf(path, { followLinks: false }))
    if (status === undefined || (status.mode & FileType.MASK) !== FileType.DIRECTORY) continue
    const found = status.inode === inode ? path : findDirectory(path, inode)
    if (found !== undefined) return found
  }
  return undefined
}
