/** lib/netns against the kernel, with ip-netns(8) as the witness. */

import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { listLinks } from '../../lib/netlink/route/link/index.ts'
import { NetlinkProtocol } from '../../lib/netlink/socket.ts'
import {
  createNamespace,
  deleteNamespace,
  listNamespaces,
  NotANamespaceError,
  namespacePath,
  openNamespace,
  openNamespaceIfExists,
  ownNamespaceIdentity,
  readSysctl,
  readSysctlIfExists,
  writeSysctl,
  writeSysctlIfExists,
} from '../../lib/netns/index.ts'
import { SysError } from '../../lib/sys/errno.ts'
import { execute, output, repositoryRoot, withHost } from '../harness/index.ts'

const home = ownNamespaceIdentity()
const descriptors = () => readdirSync('/proc/self/fd').length

/** Runs with a name that nobody else has, and takes the namespace of that name away. */
function withName(run: (name: string) => void): void {
  const name = `cnikit-${process.pid}-netns-${Math.random().toString(36).slice(2, 8)}`
  try {
    run(name)
  } finally {
    deleteNamespace(name)
  }
}

t.test('run() works inside and comes back, also after an exception and from within another namespace', t =>
  withHost(t, host => {
    const [first, second] = [openNamespace(host.path), openNamespace(host.createContainer().path)]
    const before = descriptors()
    t.not(first.identity, home)
    t.equal(
      first.run(() => ownNamespaceIdentity()),
      first.identity,
    )
    t.equal(ownNamespaceIdentity(), home)
    t.throws(
      () =>
        first.run(() => {
          throw new Error('as planned')
        }),
      { message: 'as planned' },
    )
    t.equal(ownNamespaceIdentity(), home, 'back after an exception')
    const seen = first.run(() => [second.run(() => ownNamespaceIdentity()), ownNamespaceIdentity()])
    t.same(seen, [second.identity, first.identity], 'nested')
    t.equal(ownNamespaceIdentity(), home)
    t.equal(descriptors(), before, 'no descriptor is left open')
    first.close()
    second.close()
  }),
)

t.test('run() refuses a function that would go on elsewhere after its first await', t =>
  withHost(t, host => {
    const namespace = openNamespace(host.path)
    t.throws(() => namespace.run(async () => undefined), TypeError)
    t.equal(ownNamespaceIdentity(), home)
    namespace.close()
  }),
)

t.test('a process that cannot come back ends at once and says why', t =>
  withHost(t, host => {
    const script = join(repositoryRoot, 'dist/node/test/netns/netns-no-return.js')
    const ended = execute([process.execPath, script, host.path])
    t.equal(ended.status, 70)
    t.equal(ended.stdout, '', 'nothing after the namespace runs')
    t.match(ended.stderr, /cannot return to the network namespace/)
  }),
)

t.test('a namespace that cannot be entered is an error, and the thread stays where it is', t =>
  withHost(t, host => {
    const namespace = openNamespace(host.path)
    namespace.close()
    t.throws(() => namespace.run(() => t.fail('ran')), {
      name: 'SysError',
      code: 'EBADF',
      message: new RegExp(host.path),
    })
    t.equal(ownNamespaceIdentity(), home)
  }),
)

t.test('a socket stays in the namespace in which it was opened', t =>
  withHost(t, host => {
    host.ip('link add only-here type ifb')
    const namespace = openNamespace(host.path)
    const socket = namespace.openSocket(NetlinkProtocol.route)
    namespace.close()
    t.same(
      listLinks(socket).map(link => link.name),
      ['lo', 'only-here'],
    )
    socket.close()
  }),
)

t.test('identity is equal for two paths exactly when they lead to the same namespace', t =>
  withHost(t, host => {
    const child = host.start(['sleep', '60'])
    const paths = [host.path, `/proc/${child.pid}/ns/net`, host.createContainer().path]
    // The child is inside once it has executed.
    const [one, two, other] = paths.map(path => {
      const namespace = openNamespace(path)
      const { identity } = namespace
      namespace.close()
      return identity
    })
    t.not(one, other)
    t.ok(two === one || two === home, 'a namespace by process id')
    t.equal(one?.split(':')[2], String(statSync(host.path).ino), 'with the inode that ls shows')
  }),
)

t.test('what is no network namespace is refused and not left open', t => {
  const directory = mkdtempSync(join('/tmp', `cnikit-${process.pid}-`))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const file = join(directory, 'file')
  writeFileSync(file, '')
  mkdirSync(join(directory, 'directory'))
  output(['mkfifo', join(directory, 'fifo')])
  const before = descriptors()
  for (const [path, reason] of [
    [file, /no namespace is mounted/],
    [join(directory, 'directory'), /not a file/],
    [join(directory, 'fifo'), /not a file/],
    [join(directory, 'nothing'), /no such file/],
    [join(file, 'below'), /no such file/],
    ['/dev/null', /not a file/],
    ['/proc/self/ns/mnt', /another kind/],
    ['/proc/self/ns/user', /another kind/],
    ['/proc/4194305/ns/net', /no such file/],
    ['', /no such file/],
  ] as const) {
    const error = t.throws(() => openNamespace(path), NotANamespaceError)
    t.match((error as Error).message, reason, path)
    t.ok((error as Error).message.includes(JSON.stringify(path)))
  }
  t.equal(descriptors(), before)
  t.end()
})

t.test('openNamespaceIfExists() is quiet about what is gone, and about nothing else', t => {
  const directory = mkdtempSync(join('/tmp', `cnikit-${process.pid}-`))
  t.teardown(() => rmSync(directory, { recursive: true }))
  writeFileSync(join(directory, 'leftover'), '')
  for (const path of ['', join(directory, 'nothing'), join(directory, 'leftover'), '/proc/4194305/ns/net'])
    t.equal(openNamespaceIfExists(path), undefined, path)
  for (const path of [directory, '/proc/self/ns/mnt', '/dev/null'])
    t.throws(() => openNamespaceIfExists(path), NotANamespaceError, path)
  t.end()
})

t.test('createNamespace() makes one as ip-netns does, and deleteNamespace() takes it away', t => {
  withName(name => {
    const path = createNamespace(name)
    t.equal(path, `/run/netns/${name}`)
    t.equal(ownNamespaceIdentity(), home, 'the thread has stayed')
    t.same(
      JSON.parse(output(['ip', '-n', name, '-j', 'link'])).map((link: { ifname: string }) => link.ifname),
      ['lo'],
    )
    t.match(output(['ip', 'netns', 'list']), name)
    const namespace = openNamespace(path)
    t.same(
      listNamespaces().filter(one => one.name === name),
      [{ name, path, identity: namespace.identity }],
    )
    namespace.close()
    t.throws(() => createNamespace(name), { code: 'EEXIST' })
    t.equal(deleteNamespace(name), true)
    t.throws(() => statSync(path), { code: 'ENOENT' })
    t.equal(deleteNamespace(name), false, 'a second time')
    t.notMatch(output(['cat', '/proc/self/mountinfo']), name, 'nothing stays mounted')
  })
  t.end()
})

t.test('the directory of namespaces is a shared mount, so that deletions reach other mount namespaces', t => {
  withName(name => {
    createNamespace(name)
    const mounts = output(['cat', '/proc/self/mountinfo'])
      .split('\n')
      .filter(line => line.split(' ')[4] === '/run/netns')
    t.equal(mounts.length, 1, 'mounted once, however often a namespace is made')
    t.match(mounts[0], /shared:/)
  })
  t.end()
})

t.test('ip-netns deletes what we have made, and we what it has made', t => {
  withName(name => {
    createNamespace(name)
    output(['ip', 'netns', 'delete', name])
    t.equal(openNamespaceIfExists(namespacePath(name)), undefined)
    output(['ip', 'netns', 'add', name])
    t.equal(deleteNamespace(name), true)
    t.notMatch(output(['ip', 'netns', 'list']), name)
  })
  t.end()
})

t.test('a leftover file is no namespace, is not listed, and can be deleted', t => {
  withName(name => {
    createNamespace(name)
    output(['umount', namespacePath(name)])
    t.same(
      listNamespaces().filter(one => one.name === name),
      [],
    )
    t.throws(() => createNamespace(name), { code: 'EEXIST' })
    t.equal(deleteNamespace(name), true)
  })
  t.end()
})

t.test('names that would lead out of the directory are refused', t => {
  for (const name of ['', '.', '..', '../x', 'a/b', 'a\0b', 'x'.repeat(256)]) {
    t.throws(() => createNamespace(name), RangeError, JSON.stringify(name))
    t.throws(() => deleteNamespace(name), RangeError)
  }
  t.end()
})

t.test('sysctls are those of the namespace that the thread is in', t =>
  withHost(t, host => {
    const here = readSysctl('net/ipv4/ip_forward')
    const namespace = openNamespace(host.path)
    const other = here === '1' ? '0' : '1'
    namespace.run(() => {
      writeSysctl('net/ipv4/ip_forward', other)
      t.equal(readSysctl('net/ipv4/ip_forward'), other)
    })
    t.equal(readSysctl('net/ipv4/ip_forward'), here, 'the host’s own is as it was')
    t.equal(host.output(['cat', '/proc/sys/net/ipv4/ip_forward']).trim(), other)
    namespace.close()
  }),
)

t.test('a sysctl of an interface with a dot in its name is found', t =>
  withHost(t, host => {
    host.ip('link add eth0.5 type ifb')
    const namespace = openNamespace(host.path)
    namespace.run(() => {
      writeSysctl('net/ipv4/conf/eth0.5/arp_notify', '1')
      t.equal(readSysctl('net/ipv4/conf/eth0.5/arp_notify'), '1')
    })
    namespace.close()
  }),
)

t.test('a sysctl that the kernel does not have is undefined or an error, as asked', t => {
  const missing = 'net/ipv6/conf/no-such-link/accept_dad'
  t.equal(readSysctlIfExists(missing), undefined)
  t.doesNotThrow(() => writeSysctlIfExists(missing, '0'))
  for (const use of [() => readSysctl(missing), () => writeSysctl(missing, '0')])
    t.match(t.throws(use, SysError), { code: 'ENOENT', message: /no-such-link/ })
  t.throws(() => writeSysctlIfExists('net/ipv4/ip_local_port_range', 'nonsense'), { code: 'EINVAL' })
  t.end()
})
