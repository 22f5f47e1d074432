/** The host plugin and ports that are taken: sockets of real processes, and who has them. */

import { mkdirSync, rmdirSync, writeFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { assertSameSnapshot, type Host, snapshot, withHost } from '../harness/index.ts'
import { mustRun, ports, prepareUplink, run } from './host-fixture.ts'
import { canBind, listenerProgram, type SocketSpec, startListener, withUdpSockets } from './socket-fixture.ts'

/** "tcp 8080" or "tcp 8080 of 10.0.0.5" as a mapping. */
function mapping(text: string): object {
  const [protocol = '', port = '', , hostIP] = text.split(' ')
  return { hostPort: Number(port), containerPort: Number(port), protocol, ...(hostIP === undefined ? {} : { hostIP }) }
}

/** The message of ADD's refusal, or undefined when it is served. */
const refusal = (host: Host, wanted: string): string | undefined => run(host, 'ADD', ports(mapping(wanted))).error?.msg

interface Case {
  readonly listens: string
  /** How the error calls it. */
  readonly shown: string
  readonly refused: readonly string[]
  readonly served: readonly string[]
}

const cases: readonly Case[] = [
  {
    listens: 'tcp,0.0.0.0,8080',
    shown: 'listens on 0.0.0.0:8080',
    refused: ['tcp 8080', 'tcp 8080 of 0.0.0.0', 'tcp 8080 of 127.0.0.1', 'tcp 8080 of 198.51.100.1', 'TCP 8080'],
    served: ['tcp 8081', 'udp 8080', 'tcp 8080 of ::', 'tcp 8080 of ::1', 'sctp 8080'],
  },
  {
    listens: 'tcp,127.0.0.1,8080',
    shown: 'listens on 127.0.0.1:8080',
    refused: ['tcp 8080', 'tcp 8080 of 0.0.0.0', 'tcp 8080 of 127.0.0.1', 'tcp 8080 of ::ffff:127.0.0.1'],
    served: ['tcp 8080 of 127.0.0.2', 'tcp 8080 of 198.51.100.1', 'tcp 8080 of ::', 'tcp 80'],
  },
  {
    listens: 'tcp,::,8080',
    shown: 'listens on [::]:8080',
    refused: ['tcp 8080', 'tcp 8080 of 0.0.0.0', 'tcp 8080 of 127.0.0.1', 'tcp 8080 of ::', 'tcp 8080 of ::1'],
    served: ['udp 8080'],
  },
  {
    listens: 'tcp,::,8080,v6only',
    shown: 'listens on [::]:8080',
    refused: ['tcp 8080', 'tcp 8080 of ::', 'tcp 8080 of 2001:db8:51::1'],
    served: ['tcp 8080 of 0.0.0.0', 'tcp 8080 of 127.0.0.1'],
  },
  {
    listens: 'tcp,::1,8080',
    shown: 'listens on [::1]:8080',
    refused: ['tcp 8080', 'tcp 8080 of ::', 'tcp 8080 of ::1'],
    served: ['tcp 8080 of 0.0.0.0', 'tcp 8080 of 2001:db8:51::1'],
  },
  {
    listens: 'tcp,::ffff:127.0.0.1,8080',
    shown: 'listens on 127.0.0.1:8080',
    refused: ['tcp 8080', 'tcp 8080 of 0.0.0.0', 'tcp 8080 of 127.0.0.1'],
    served: ['tcp 8080 of ::', 'tcp 8080 of ::1', 'tcp 8080 of 198.51.100.1'],
  },
  {
    listens: 'udp,0.0.0.0,5353',
    shown: 'is bound to 0.0.0.0:5353',
    refused: ['udp 5353', 'udp 5353 of 0.0.0.0', 'udp 5353 of 198.51.100.1'],
    served: ['tcp 5353', 'udp 5353 of ::'],
  },
  {
    listens: 'udp,::,5353',
    shown: 'is bound to [::]:5353',
    refused: ['udp 5353', 'udp 5353 of 0.0.0.0', 'udp 5353 of ::', 'udp 5353 of 127.0.0.1'],
    served: ['tcp 5353'],
  },
  {
    listens: 'udp,::,5353,v6only',
    shown: 'is bound to [::]:5353',
    refused: ['udp 5353', 'udp 5353 of ::', 'udp 5353 of ::1'],
    served: ['udp 5353 of 127.0.0.1', 'udp 5353 of 0.0.0.0'],
  },
  {
    listens: 'udp,127.0.0.1,5353,connected',
    shown: 'never',
    refused: [],
    served: ['udp 5353'],
  },
]

t.test('a port is taken by whoever could not listen there beside the container', async t => {
  for (const { listens, shown, refused, served } of cases) {
    await t.test(listens, t =>
      withHost(t, async host => {
        prepareUplink(host)
        const { pid } = await startListener(host, listens)
        for (const wanted of refused) {
          const message = refusal(host, wanted)
          t.ok(message?.endsWith(`is taken by process ${pid} (listener), which ${shown}`), `${wanted}: ${message}`)
        }
        for (const wanted of served) t.equal(refusal(host, wanted), undefined, wanted)
      }),
    )
  }
})

/** What a container would bind for a hostIP: without one, both families. */
const wanted: readonly [hostIP: string, socket: Pick<SocketSpec, 'address' | 'v6Only'>][] = [
  ['', { address: '::' }],
  ['0.0.0.0', { address: '0.0.0.0' }],
  ['127.0.0.1', { address: '127.0.0.1' }],
  ['::', { address: '::', v6Only: true }],
  ['::1', { address: '::1' }],
]

const holders: readonly Pick<SocketSpec, 'address' | 'v6Only'>[] = [
  ...wanted.map(([, socket]) => socket),
  { address: '::ffff:127.0.0.1' },
]

/** Compares with what the kernel says to a socket that would be the container's. */
function compareWithKernel(t: Test, host: Host, transport: 'tcp' | 'udp', held: string): void {
  for (const [hostIP, socket] of wanted) {
    const { error } = run(host, 'ADD', ports({ hostPort: 8080, protocol: transport, hostIP }))
    const free = canBind(host, { ...socket, transport, port: 8080 })
    t.equal(error?.code, free ? undefined : 104, `${transport} ${hostIP || 'everywhere'} beside ${held}`)
  }
}

t.test('what the plugin refuses, the kernel refuses, and what it serves, the kernel serves', t =>
  withHost(t, async host => {
    prepareUplink(host)
    for (const holder of holders) {
      const held = `${holder.address}${holder.v6Only ? ',v6only' : ''}`
      await withUdpSockets(host, [{ ...holder, port: 8080 }], () => compareWithKernel(t, host, 'udp', held))
      const listener = await startListener(host, `tcp,${holder.address},8080${holder.v6Only ? ',v6only' : ''}`)
      compareWithKernel(t, host, 'tcp', held)
      await listener.stop()
    }
  }),
)

t.test('an error names every taken port, the process, and changes nothing', t =>
  withHost(t, async host => {
    prepareUplink(host)
    const { pid } = await startListener(host, 'tcp,0.0.0.0,8080', 'udp,127.0.0.1,5353')
    const before = snapshot(host)
    const keys = ports(mapping('tcp 8079'), mapping('tcp 8080 of 198.51.100.1'), mapping('udp 5353'))
    const { error } = run(host, 'ADD', keys)
    t.equal(error?.code, 104)
    t.equal(
      error?.msg,
      `TCP port 8080 of 198.51.100.1 is taken by process ${pid} (listener), which listens on 0.0.0.0:8080`,
    )
    t.match(error?.details, /^end the process.*, or have the container listen on another port\n/)
    t.match(
      error?.details,
      new RegExp(`\nalso: UDP port 5353 is taken by process ${pid} .*is bound to 127.0.0.1:5353$`),
    )
    assertSameSnapshot(t, before, snapshot(host), 'the host is as before')
  }),
)

t.test('a port is free again when its process has ended', t =>
  withHost(t, async host => {
    prepareUplink(host)
    const listener = await startListener(host, 'tcp,0.0.0.0,8080')
    t.ok(refusal(host, 'tcp 8080'))
    await listener.stop()
    t.equal(refusal(host, 'tcp 8080'), undefined)
  }),
)

t.test('CHECK, STATUS and DEL do not mind that the container listens on its port', t =>
  withHost(t, async host => {
    prepareUplink(host)
    const keys = ports(mapping('tcp 8080'))
    const { result } = mustRun(host, 'ADD', keys)
    await startListener(host, 'tcp,0.0.0.0,8080')
    for (const command of ['CHECK', 'STATUS', 'DEL'])
      t.equal(mustRun(host, command, { ...keys, prevResult: result }).stdout, '', command)
  }),
)

t.test('a socket that the kernel itself has is told as such', t =>
  withHost(t, host => {
    prepareUplink(host)
    host.ip('link add vx7 up type vxlan id 7 dstport 4789')
    const { error } = run(host, 'ADD', ports(mapping('udp 4789')))
    t.match(error, {
      code: 104,
      msg: /^UDP port 4789 is taken by a socket that no process here has \(user 0, inode \d+\), which is bound to /,
      details: /the kernel itself \(VXLAN, WireGuard, NFS\) or a process of another PID namespace/,
    })
  }),
)

/** Version 2 of control groups: alone, or beside version 1. */
const controlGroups = ['/sys/fs/cgroup/unified', '/sys/fs/cgroup']

/** A control group below the root; @returns its path on the file system, and within the hierarchy */
function makeControlGroup(): { readonly directory: string; readonly path: string } {
  const path = `/cnikit-${process.pid}`
  for (const mount of controlGroups) {
    try {
      mkdirSync(`${mount}${path}`)
      writeFileSync(`${mount}${path}/cgroup.procs`, '')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') continue
    }
    return { directory: `${mount}${path}`, path }
  }
  throw new Error('no control groups of version 2')
}

t.test('the control group of whoever has the port is told, also when the process cannot be seen', t =>
  withHost(t, async host => {
    prepareUplink(host)
    const { directory, path } = makeControlGroup()
    try {
      const listener = host.start([
        'sh',
        '-c',
        `echo $$ > ${directory}/cgroup.procs && exec ${process.execPath} ${listenerProgram} tcp,0.0.0.0,8080`,
      ])
      await listener.says(/listening/)
      const keys = ports(mapping('tcp 8080'))
      const seen = run(host, 'ADD', keys).error
      t.match(seen?.msg, `process ${listener.pid} (listener)`)
      t.match(seen?.details, `end the process in control group ${path}, or`)
      const through = ['/usr/bin/unshare', '--pid', '--fork', '--mount-proc']
      const unseen = run(host, 'ADD', keys, { through }).error
      t.match(unseen?.msg, /a socket that no process here has \(user 0, inode \d+\), which listens on 0\.0\.0\.0:8080/)
      t.match(unseen?.details, `another PID namespace has it in control group ${path};`)
      await listener.stop()
    } finally {
      rmdirSync(directory)
    }
  }),
)

t.test('a socket that is bound to an interface is told with it', t =>
  withHost(t, async host => {
    prepareUplink(host)
    await withUdpSockets(host, [{ address: '0.0.0.0', port: 5353, device: 'uplink' }], () => {
      t.match(
        refusal(host, 'udp 5353'),
        new RegExp(`process ${process.pid} .*which is bound to 0\\.0\\.0\\.0%uplink:5353$`),
      )
    })
  }),
)

t.test('of a thousand sockets those in the way are found, and ten are told', t =>
  withHost(t, async host => {
    prepareUplink(host)
    const sockets = Array.from({ length: 1000 }, (_, index) => ({ address: '127.0.0.1', port: 20_000 + index }))
    await withUdpSockets(host, sockets, () => {
      t.match(refusal(host, 'udp 20500'), /^UDP port 20500 is taken by process/)
      t.equal(refusal(host, 'udp 21000'), undefined)
      t.equal(refusal(host, 'tcp 20500'), undefined)
      const range = Array.from({ length: 2000 }, (_, index) => mapping(`udp ${20_000 + index}`))
      const { error } = run(host, 'ADD', ports(...range))
      t.match(error?.msg, /^UDP port 20000 is taken/)
      t.equal(error?.details?.match(/^also: /gm)?.length, 9)
      t.match(error?.details, /\nand 990 more$/)
    })
  }),
)

t.test('a hostIP must be the host’s, unless foreign addresses may be bound', t =>
  withHost(t, host => {
    prepareUplink(host)
    for (const [family, hostIP] of [
      ['ipv4', '192.0.2.99'],
      ['ipv6', '2001:db8:9::9'],
    ] as const) {
      const keys = ports({ hostPort: 80, hostIP })
      t.match(run(host, 'ADD', keys).error, { code: 7, msg: `hostIP ${hostIP} is no address of the host` })
      host.output(['sysctl', '-qw', `net.${family}.ip_nonlocal_bind=1`])
      t.ok(run(host, 'ADD', keys).result)
    }
    for (const hostIP of ['127.5.5.5', '198.51.100.1', '2001:db8:51::1', '224.0.0.251', 'fe80::1', ''])
      t.ok(mustRun(host, 'ADD', ports({ hostPort: 80, hostIP })).result, hostIP)
  }),
)
