/** The numbers of namespaces, and the search for all of them. */

import t from 'tap'
import { listLinks } from '../../lib/netlink/route/link/index.ts'
import { getNamespaceId } from '../../lib/netlink/route/namespace-id.ts'
import { NetlinkProtocol } from '../../lib/netlink/socket.ts'
import { findNamespaces, openNamespace } from '../../lib/netns/index.ts'
import { statusOf } from '../../lib/sys/file.ts'
import { withHost } from '../harness/index.ts'

t.test('getNamespaceId() gives the number that links of another namespace bear, and none where there is none', t =>
  withHost(t, host => {
    const container = host.createContainer()
    const [home, there] = [openNamespace(host.path), openNamespace(container.path)]
    const socket = there.openSocket(NetlinkProtocol.route)
    try {
      t.equal(getNamespaceId(socket, home.fd), undefined)
      host.ip(`link add eth0 type veth peer name eth0 netns ${container.name}`)
      const [link] = listLinks(socket, { kind: 'veth' })
      t.equal(getNamespaceId(socket, home.fd), link?.parentNamespaceId)
      t.type(link?.parentNamespaceId, 'number')
    } finally {
      socket.close()
      home.close()
      there.close()
    }
  }),
)

t.test('findNamespaces() finds those with a name and those with a process, each once', t =>
  withHost(t, async host => {
    const container = host.createContainer()
    const child = host.startOutside(['unshare', '--net', 'sh', '-c', 'echo started; exec sleep 60'])
    await child.says(/started/)
    const found = findNamespaces()
    const identities = found.map(path => statusOf(path)?.identity)
    t.ok(found.includes(container.path))
    t.ok(identities.includes(statusOf(`/proc/${child.pid}/ns/net`)?.identity))
    t.ok(identities.includes(statusOf('/proc/self/ns/net')?.identity))
    const there = identities.filter(identity => identity !== undefined)
    t.equal(new Set(there).size, there.length)
  }),
)
