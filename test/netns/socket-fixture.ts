/** Sockets of a test: in a process of their own, or held by the test itself. */

import { join } from 'node:path'
import { libc } from '#libc'
import { allocate, cString } from '../../lib/sys/bytes.ts'
import { check } from '../../lib/sys/call.ts'
import { Errno, SysError } from '../../lib/sys/errno.ts'
import { close } from '../../lib/sys/file.ts'
import { type Child, type Host, type NetworkNamespace, repositoryRoot } from '../harness/index.ts'
import { inside } from './firewall-fixture.ts'
import { address } from './netlink-fixture.ts'

/** Starts a process "listener" with the sockets: "tcp,0.0.0.0,8080". Resolves when it listens; ended with the host. */
export async function startListener(host: Host, ...sockets: readonly string[]): Promise<Child> {
  const child = host.start([process.execPath, listenerProgram, ...sockets])
  await child.says(/listening/)
  return child
}

export const listenerProgram = join(repositoryRoot, 'dist/node/test/netns/listener-process.js')

export const AF_INET = 2
export const AF_INET6 = 10
const SOCK_STREAM_CLOEXEC = 1 | 0o2000000
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000
const SOL_SOCKET = 1
const SO_REUSEADDR = 2
const SO_BINDTODEVICE = 25
const IPPROTO_IPV6 = 41
const IPV6_V6ONLY = 26

export interface SocketSpec {
  /** Default: udp. */
  readonly transport?: 'tcp' | 'udp'
  readonly address: string
  readonly port: number
  /** Default: no, whatever the host's sysctl says. */
  readonly v6Only?: boolean
  readonly device?: string
  /** Shares its port with others that do so too. */
  readonly reuseAddress?: boolean
}

/** Runs a test while this process holds UDP sockets in the namespace. */
export async function withUdpSockets(
  namespace: NetworkNamespace,
  sockets: readonly SocketSpec[],
  run: () => void | Promise<void>,
): Promise<void> {
  const open: number[] = []
  try {
    inside(namespace, () => {
      for (const socket of sockets) open.push(bindSocket(socket))
    })
    await run()
  } finally {
    for (const fd of open) close(fd)
  }
}

/** Whether the kernel lets a socket be bound there now; it is closed again. */
export function canBind(namespace: NetworkNamespace, socket: SocketSpec): boolean {
  try {
    close(inside(namespace, () => bindSocket(socket)))
    return true
  } catch (error) {
    if (error instanceof SysError && error.errno === Errno.EADDRINUSE) return false
    throw error
  }
}

/** struct sockaddr_in or, also for an IPv4-mapped address, sockaddr_in6 */
export function socketAddress(text: string, port: number): Uint8Array<ArrayBuffer> {
  const v6 = text.includes(':')
  const bytes = address(text)
  const name = allocate(v6 ? 28 : 16)
  new DataView(name.buffer).setUint16(0, v6 ? AF_INET6 : AF_INET, true)
  new DataView(name.buffer).setUint16(2, port)
  if (v6 && bytes.length === 4) name.set([0xff, 0xff, ...bytes], 18)
  else name.set(bytes, v6 ? 8 : 4)
  return name
}

function bindSocket({ transport, address: text, port, v6Only, device, reuseAddress }: SocketSpec): number {
  const v6 = text.includes(':')
  const type = transport === 'tcp' ? SOCK_STREAM_CLOEXEC : SOCK_DGRAM_CLOEXEC
  const fd = check(
    () => 'make a socket',
    () => libc.socket(v6 ? AF_INET6 : AF_INET, type, 0),
  )
  const set = (level: number, option: number, value: Uint8Array) =>
    check(
      () => `set option ${option}`,
      () => libc.setsockopt(fd, level, option, value, value.length),
    )
  const name = socketAddress(text, port)
  try {
    if (v6) set(IPPROTO_IPV6, IPV6_V6ONLY, integer(v6Only ? 1 : 0))
    if (device !== undefined) set(SOL_SOCKET, SO_BINDTODEVICE, cString(device))
    if (reuseAddress) set(SOL_SOCKET, SO_REUSEADDR, integer(1))
    check(
      () => `bind ${text}:${port}`,
      () => libc.bind(fd, name, name.length),
    )
    return fd
  } catch (error) {
    close(fd)
    throw error
  }
}

/** A C int. */
function integer(value: number): Uint8Array<ArrayBuffer> {
  const bytes = allocate(4)
  new DataView(bytes.buffer).setInt32(0, value, true)
  return bytes
}
