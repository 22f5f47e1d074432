/** Sockets of a test: in a process of their own, or held by the test itself. */

import { join } from 'node:path'
import { libc } from '#libc'
import { familyOf } from '../../lib/address/address.ts'
import { openNamespace } from '../../lib/netns/index.ts'
import { allocate, cString } from '../../lib/sys/bytes.ts'
import { check } from '../../lib/sys/call.ts'
import { close } from '../../lib/sys/file.ts'
import { type Child, type Host, type NetworkNamespace, repositoryRoot } from '../harness/index.ts'
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
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000
const SOL_SOCKET = 1
const SO_REUSEADDR = 2
const SO_BINDTODEVICE = 25

export interface UdpSocket {
  readonly address: string
  readonly port: number
  readonly device?: string
  /** Shares its port with others that do so too. */
  readonly reuseAddress?: boolean
}

/** Runs a test while this process holds UDP sockets in the namespace. */
export async function withUdpSockets(
  namespace: NetworkNamespace,
  sockets: readonly UdpSocket[],
  run: () => void | Promise<void>,
): Promise<void> {
  const open: number[] = []
  try {
    insideOf(namespace, () => {
      for (const socket of sockets) open.push(bindUdp(socket))
    })
    await run()
  } finally {
    for (const fd of open) close(fd)
  }
}

/** Runs a function in the namespace: sockets that it makes stay there. */
export function insideOf<T>(namespace: NetworkNamespace, run: () => T): T {
  const inside = openNamespace(namespace.path)
  try {
    return inside.run(run)
  } finally {
    inside.close()
  }
}

/** struct sockaddr_in or sockaddr_in6 */
export function socketAddress(text: string, port: number): Uint8Array<ArrayBuffer> {
  const bytes = address(text)
  const v4 = familyOf(bytes) === 4
  const name = allocate(v4 ? 16 : 28)
  new DataView(name.buffer).setUint16(0, v4 ? AF_INET : AF_INET6, true)
  new DataView(name.buffer).setUint16(2, port)
  name.set(bytes, v4 ? 4 : 8)
  return name
}

function bindUdp({ address: text, port, device, reuseAddress }: UdpSocket): number {
  const fd = check(
    () => 'make a socket',
    () => libc.socket(familyOf(address(text)) === 4 ? AF_INET : AF_INET6, SOCK_DGRAM_CLOEXEC, 0),
  )
  const set = (option: number, value: Uint8Array) =>
    check(
      () => `set option ${option}`,
      () => libc.setsockopt(fd, SOL_SOCKET, option, value, value.length),
    )
  if (device !== undefined) set(SO_BINDTODEVICE, cString(device))
  if (reuseAddress) set(SO_REUSEADDR, new Uint8Array(Int32Array.of(1).buffer))
  const name = socketAddress(text, port)
  check(
    () => `bind ${text}:${port}`,
    () => libc.bind(fd, name, name.length),
  )
  return fd
}
