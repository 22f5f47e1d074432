/** The host plugin and SCTP ports, on a kernel that has SCTP as a module. */

import { existsSync } from 'node:fs'
import koffi from 'koffi'
import t from 'tap'
import { libc } from '#libc'
import { check } from '../../lib/sys/call.ts'
import { close } from '../../lib/sys/file.ts'
import { type Host, withHost } from '../harness/index.ts'
import { inside } from '../netns/firewall-fixture.ts'
import { ports, prepareUplink, run } from '../netns/host-fixture.ts'
import { AF_INET, AF_INET6, socketAddress } from '../netns/socket-fixture.ts'

const SOCK_STREAM_CLOEXEC = 1 | 0o2000000
const IPPROTO_SCTP = 132
/** linux/sctp.h */
const SCTP_SOCKOPT_BINDX_ADD = 100

const listen = koffi.load('libc.so.6').func('int listen(int, int)') as (fd: number, backlog: number) => number

/** A socket on one or several addresses. */
function bindSctp(addresses: readonly string[], port: number): number {
  const [first, ...others] = addresses.map(one => socketAddress(one, port))
  if (first === undefined) throw new RangeError('no address')
  const family = addresses.some(one => one.includes(':')) ? AF_INET6 : AF_INET
  const fd = check(
    () => 'make an SCTP socket',
    () => libc.socket(family, SOCK_STREAM_CLOEXEC, IPPROTO_SCTP),
  )
  check(
    () => `bind ${addresses[0]}`,
    () => libc.bind(fd, first, first.length),
  )
  for (const other of others)
    check(
      () => 'bind one more',
      () => libc.setsockopt(fd, IPPROTO_SCTP, SCTP_SOCKOPT_BINDX_ADD, other, other.length),
    )
  return fd
}

const PORT = 3868
const refusal = (host: Host, hostIP = ''): string | undefined =>
  run(host, 'ADD', ports({ hostPort: PORT, protocol: 'sctp', hostIP })).error?.msg

t.test('SCTP is not loaded for a look at its ports', t =>
  withHost(t, host => {
    prepareUplink(host)
    t.notOk(existsSync('/proc/net/sctp'), 'a guest that has not used it')
    t.equal(refusal(host), undefined)
    t.notOk(existsSync('/proc/net/sctp'))
  }),
)

interface Case {
  readonly addresses: readonly string[]
  readonly shown: string
  readonly refused: readonly string[]
  readonly served: readonly string[]
}

const cases: readonly Case[] = [
  {
    addresses: ['0.0.0.0'],
    shown: `0.0.0.0:${PORT}`,
    refused: ['', '0.0.0.0', '198.51.100.1'],
    served: ['::', '::1'],
  },
  { addresses: ['::'], shown: `[::]:${PORT}`, refused: ['', '0.0.0.0', '::1'], served: [] },
  {
    addresses: ['127.0.0.1', '198.51.100.1'],
    shown: `127.0.0.1:${PORT}`,
    refused: ['', '127.0.0.1'],
    served: ['127.0.0.2', '::1'],
  },
  {
    addresses: ['127.0.0.1', '198.51.100.1'],
    shown: `198.51.100.1:${PORT}`,
    refused: ['198.51.100.1'],
    served: ['127.0.0.2', '::1'],
  },
]

t.test('a port is taken at every address of the socket that listens there', async t => {
  for (const { addresses, shown, refused, served } of cases) {
    await t.test(`${addresses.join(' and ')}, shown as ${shown}`, t =>
      withHost(t, host => {
        prepareUplink(host)
        const fd = inside(host, () => bindSctp(addresses, PORT))
        try {
          t.equal(refusal(host), undefined, 'bound, and not listening')
          t.equal(listen(fd, 5), 0)
          for (const hostIP of refused) {
            const message = refusal(host, hostIP) ?? 'served'
            t.match(message, new RegExp(`^SCTP port ${PORT} .*is taken by process ${process.pid} `), hostIP)
            t.ok(message.endsWith(`which listens on ${shown}`), message)
          }
          for (const hostIP of served) t.equal(refusal(host, hostIP), undefined, hostIP)
        } finally {
          close(fd)
        }
      }),
    )
  }
})
