/** The netlink socket against the kernel: dumps that are whole, many requests at once, filters, refusals, strangers. */

import t from 'tap'
import { libc } from '#libc'
import { formatPrefix } from '../../lib/address/prefix.ts'
import { u8 } from '../../lib/netlink/codec.ts'
import { request } from '../../lib/netlink/message.ts'
import { addressFormat } from '../../lib/netlink/route/addr/address.ts'
import { addAddressRequest, listAddresses } from '../../lib/netlink/route/addr/index.ts'
import { addLinkRequest, deleteLink, getLink, listLinks, setLinkRequest } from '../../lib/netlink/route/link/index.ts'
import { linkFormat } from '../../lib/netlink/route/link/message.ts'
import { RouteMessage } from '../../lib/netlink/route/message-types.ts'
import { addNeighbourRequest, listNeighbours } from '../../lib/netlink/route/neigh/index.ts'
import { neighbourFormat } from '../../lib/netlink/route/neigh/message.ts'
import { addRouteRequest, listRoutes } from '../../lib/netlink/route/route/index.ts'
import { routeFormat } from '../../lib/netlink/route/route/message.ts'
import { NetlinkProtocol, NetlinkSocket } from '../../lib/netlink/socket.ts'
import { openNamespace } from '../../lib/netns/index.ts'
import { allocate } from '../../lib/sys/bytes.ts'
import { check } from '../../lib/sys/call.ts'
import { Errno } from '../../lib/sys/errno.ts'
import { close, withDescriptor } from '../../lib/sys/file.ts'
import type { Host, NetworkNamespace } from '../harness/index.ts'
import { address, findLink, ip, mac, makeLink, prefix, refusal, text, withRouteSocket } from './netlink-fixture.ts'

const AF_NETLINK = 16
const SOCK_RAW_CLOEXEC = 3 | 0o2000000
const NLM_F_REQUEST_DUMP = 0x301
const NLM_F_DUMP_INTR = 0x10
const NLMSG_DONE = 3

const numbers = (count: number) => Array.from({ length: count }, (_, number) => number)
/** 10.x.y.0/24, each once. */
const network = (number: number) => prefix(`10.${number >> 8}.${number & 255}.0/24`)

function inside<T>(namespace: NetworkNamespace, run: () => T): T {
  const opened = openNamespace(namespace.path)
  try {
    return opened.run(run)
  } finally {
    opened.close()
  }
}

t.test('thousands of routes and neighbours come whole, each once', t =>
  withRouteSocket(t, (socket, host) => {
    const { index } = makeLink(socket, { name: 'd0', kind: 'veth', up: true, peer: { name: 'd1' } })
    // The kernel begins to drop neighbours at gc_thresh3, permanent ones apart.
    socket.executeAll(numbers(5000).map(number => addRouteRequest({ destination: network(number), index })))
    socket.executeAll(
      numbers(3000).map(number =>
        addNeighbourRequest({
          index,
          address: address(`172.16.${number >> 8}.${number & 255}`),
          mac: mac('02:00:00:00:00:01'),
        }),
      ),
    )
    const routes = listRoutes(socket, { family: 4, table: 254 }).map(route => text.prefix(route.destination))
    t.equal(routes.length, 5000)
    t.same(new Set(routes), new Set(numbers(5000).map(number => formatPrefix(network(number)))))
    const neighbours = listNeighbours(socket, { index, family: 4 }).map(one => text.address(one.address))
    t.equal(neighbours.length, 3000)
    t.equal(new Set(neighbours).size, 3000)
    t.equal(JSON.parse(host.output(['ip', '-j', 'route'])).length, 5000, 'and ip agrees')
  }),
)

t.test('a thousand requests at once are each answered, in their order, whether they succeed or not', t =>
  withRouteSocket(t, socket => {
    const { index } = makeLink(socket, { name: 'd0', kind: 'ifb', up: true })
    const requests = numbers(1000).map(number => addRouteRequest({ destination: network(number), index }))
    t.same(
      socket.tryAll(requests),
      numbers(1000).map(() => undefined),
    )
    const failures = socket.tryAll(requests)
    t.ok(failures.every(failure => failure?.errno === Errno.EEXIST))
    t.same(
      failures.map(failure => failure?.operation),
      requests.map(one => one.operation),
    )
    t.same(socket.tryAll([]), [])
  }),
)

t.test('one failure among several does not keep the others from being done', t =>
  withRouteSocket(t, (socket, host) => {
    const { index } = makeLink(socket, { name: 'd0', kind: 'ifb', up: true })
    const requests = [
      addAddressRequest({ index, prefix: prefix('10.0.0.1/24') }),
      addAddressRequest({ index, prefix: prefix('10.0.0.1/24') }),
      addRouteRequest({ destination: prefix('0.0.0.0/0'), gateway: address('172.31.0.1'), index }),
      addRouteRequest({ destination: prefix('192.0.2.0/24'), gateway: address('10.0.0.2'), index }),
    ]
    const [first, second, third, fourth] = socket.tryAll(requests)
    t.same([first, fourth], [undefined, undefined])
    t.match(second, { code: 'EEXIST', operation: /^add address 10.0.0.1\/24/ })
    t.match(third, { code: 'ENETUNREACH', operation: /^add route 0.0.0.0\/0 via 172.31.0.1/ })
    t.same(host.addresses('d0'), ['10.0.0.1/24'])
    t.match(host.show('route', 'show', '192.0.2.0/24'), [{ gateway: '10.0.0.2' }])
    const { EEXIST, ENETUNREACH } = Errno
    t.match(
      refusal(() => socket.executeAll(requests, { expected: [EEXIST] })),
      { errno: ENETUNREACH },
    )
    t.doesNotThrow(() => socket.executeAll(requests, { expected: [EEXIST, ENETUNREACH] }))
    t.match(
      refusal(() => socket.executeAll(requests)),
      { errno: EEXIST },
      'the first failure is thrown',
    )
  }),
)

t.test('a list of hundreds of objects asked for one by one tells which are missing', t =>
  withRouteSocket(t, socket => {
    const names = numbers(150).map(number => `l${number}`)
    socket.executeAll(names.map(name => addLinkRequest({ name, kind: 'veth', peer: { name: `${name}p` } })))
    for (const name of ['l7', 'l99']) deleteLink(socket, { name })
    const read = (name: string) =>
      request(linkFormat, { type: RouteMessage.getLink, operation: `read ${name}`, attributes: { ifname: name } })
    const answers = socket.getAll(linkFormat, names.map(read))
    t.same(
      answers.map(answer => answer?.attributes.ifname),
      names.map(name => (['l7', 'l99'].includes(name) ? undefined : name)),
    )
  }),
)

t.test('an answer that does not fit the buffer makes it grow, and the dump is begun again', t =>
  withRouteSocket(t, (socket, host) => {
    socket.executeAll(
      numbers(40).map(number => addLinkRequest({ name: `i${number}`, kind: 'veth', peer: { name: `j${number}` } })),
    )
    const small = inside(host, () => new NetlinkSocket(NetlinkProtocol.route, { receiveBytes: 512 }))
    t.equal(listLinks(small).length, 81)
    t.equal(listLinks(small).length, 81, 'and the kernel takes another dump')
    t.equal(getLink(small, { name: 'lo' })?.name, 'lo')
    small.close()
    const tiny = inside(host, () => new NetlinkSocket(NetlinkProtocol.route, { receiveBytes: 64 }))
    t.match(
      refusal(() => getLink(tiny, { name: 'lo' })),
      { code: 'EMSGSIZE' },
    )
    t.equal(listLinks(tiny).length, 81)
    tiny.close()
  }),
)

t.test('a dump that is broken off half way does not stand in the way of the next', t =>
  withRouteSocket(t, socket => {
    const { index } = makeLink(socket, { name: 'd0', kind: 'ifb', up: true })
    socket.executeAll(numbers(3000).map(number => addRouteRequest({ destination: network(number), index })))
    const broken = {
      header: {
        encode: u8.encode,
        decode() {
          throw new Error('as planned')
        },
      },
      attributes: routeFormat.attributes,
    }
    const dump = request(routeFormat, { type: RouteMessage.getRoute, operation: 'list', header: { family: 2 } })
    t.throws(() => socket.dump(broken, dump), { message: 'as planned' })
    t.equal(listRoutes(socket, { family: 4, table: 254 }).length, 3000)
  }),
)

t.test('the filter of a dump is applied by the kernel, not by us', t =>
  withRouteSocket(t, (socket, host) => {
    const bridge = makeLink(socket, { name: 'br0', kind: 'bridge', up: true })
    socket.executeAll(
      numbers(20).flatMap(number => [
        addLinkRequest({ name: `v${number}`, kind: 'veth', up: true, peer: { name: `w${number}` } }),
        setLinkRequest({ name: `w${number}`, up: true }),
      ]),
    )
    const port = findLink(socket, 'v3').index
    socket.executeAll([
      setLinkRequest({ index: port, master: bridge.index }),
      addAddressRequest({ index: port, prefix: prefix('10.0.0.1/24') }),
      addAddressRequest({ index: bridge.index, prefix: prefix('10.0.1.1/24') }),
      addRouteRequest({ destination: prefix('192.0.2.0/24'), index: port, table: 300 }),
      addRouteRequest({ destination: prefix('192.0.3.0/24'), index: bridge.index, table: 301 }),
    ])
    ip(
      host,
      4,
      'neigh add 10.0.0.9 lladdr 02:00:00:00:00:09 dev v3\nneigh add 10.0.1.9 lladdr 02:00:00:00:00:09 dev br0',
    )
    const { getLink: links, getAddress, getRoute, getNeighbour } = RouteMessage
    const answers = [
      socket.dump(
        linkFormat,
        request(linkFormat, { type: links, operation: '', attributes: { master: bridge.index } }),
      ),
      socket.dump(
        linkFormat,
        request(linkFormat, { type: links, operation: '', attributes: { linkinfo: { kind: 'bridge' } } }),
      ),
      socket.dump(
        addressFormat,
        request(addressFormat, { type: getAddress, operation: '', header: { family: 2, index: port } }),
      ),
      socket.dump(
        routeFormat,
        request(routeFormat, { type: getRoute, operation: '', header: { family: 2 }, attributes: { table: 300 } }),
      ),
      socket.dump(
        routeFormat,
        request(routeFormat, {
          type: getRoute,
          operation: '',
          header: { family: 2 },
          attributes: { oif: port, table: 300 },
        }),
      ),
      socket.dump(
        neighbourFormat,
        request(neighbourFormat, {
          type: getNeighbour,
          operation: '',
          header: { family: 2 },
          attributes: { ifindex: port },
        }),
      ),
    ]
    t.same(
      answers.map(one => one.length),
      [1, 1, 1, 1, 1, 1],
    )
    const forwarding = socket.dump(
      neighbourFormat,
      request(neighbourFormat, { type: getNeighbour, operation: '', header: { family: 7, index: port } }),
    )
    t.ok(forwarding.length > 0)
    t.ok(forwarding.every(one => one.header.index === port))
  }),
)

t.test('a filter that the kernel does not have is an error, and not everything', t =>
  withRouteSocket(t, socket => {
    const wrong = request(addressFormat, {
      type: RouteMessage.getAddress,
      operation: 'list addresses by label',
      header: { family: 2 },
      attributes: { label: 'lo' },
    })
    const error = refusal(() => socket.dump(addressFormat, wrong))
    t.match(error, { code: 'EINVAL', extAckMessage: /[Uu]nsupported attribute/ }, error.message)
  }),
)

/** Dumps all IPv4 addresses with bare system calls. @returns whether the kernel marked the dump as interrupted */
function rawDumpIsInterrupted(fd: number): boolean {
  const message = allocate(24)
  const view = new DataView(message.buffer)
  view.setUint32(0, message.length, true)
  view.setUint16(4, RouteMessage.getAddress, true)
  view.setUint16(6, NLM_F_REQUEST_DUMP, true)
  message[16] = 2
  check(
    () => 'send',
    () => libc.send(fd, message, message.length, 0),
  )
  const buffer = allocate(1 << 16)
  const answer = new DataView(buffer.buffer)
  let interrupted = false
  for (;;) {
    const length = check(
      () => 'receive',
      () => libc.recv(fd, buffer, buffer.length, 0),
    )
    for (let offset = 0; offset < length; offset += (answer.getUint32(offset, true) + 3) & ~3) {
      if (answer.getUint16(offset + 6, true) & NLM_F_DUMP_INTR) interrupted = true
      if (answer.getUint16(offset + 4, true) === NLMSG_DONE) return interrupted
    }
  }
}

const rawSocket = (host: Host) =>
  inside(host, () =>
    check(
      () => 'open socket',
      () => libc.socket(AF_NETLINK, SOCK_RAW_CLOEXEC, NetlinkProtocol.route),
    ),
  )

t.test('a dump is whole although another process changes the tables all the time', t =>
  withRouteSocket(t, async (socket, host) => {
    // Addresses on many links: the dump is long, and each change of an address interrupts it.
    const names = numbers(150).map(number => `l${number}`)
    socket.executeAll(names.map(name => addLinkRequest({ name, kind: 'veth', peer: { name: `${name}p` } })))
    const indexes = listLinks(socket, { kind: 'veth' }).map(link => link.index)
    socket.executeAll(
      indexes.flatMap((index, position) =>
        [1, 2, 3, 4].map(last =>
          addAddressRequest({ index, prefix: prefix(`10.${position >> 8}.${position & 255}.${last}/32`) }),
        ),
      ),
    )
    const steady = listAddresses(socket, { family: 4 }).map(one => text.prefix(one.prefix))
    t.equal(steady.length, 1201)
    const loop = host.start([
      'sh',
      '-c',
      `while :; do printf '${'addr add 192.0.2.1/32 dev l0\\naddr del 192.0.2.1/32 dev l0\\n'.repeat(50)}' | ip -batch - || exit 1; done`,
    ])
    const wanted = new Set(steady)
    const interruptions = withDescriptor(rawSocket(host), fd => {
      let seen = 0
      const deadline = Date.now() + 20_000
      for (let round = 0; (round < 50 || seen === 0) && Date.now() < deadline; round++) {
        if (rawDumpIsInterrupted(fd)) seen++
        const found = listAddresses(socket, { family: 4 })
          .map(one => text.prefix(one.prefix))
          .filter(one => one !== '192.0.2.1/32')
        if (found.length !== wanted.size || !found.every(one => wanted.has(one ?? ''))) {
          t.fail(`a dump has ${found.length} addresses of ${wanted.size}`)
          break
        }
      }
      return seen
    })
    t.ok(loop.running, 'the other process was at it to the end')
    t.ok(interruptions > 0, 'and the kernel did mark dumps as interrupted')
    await loop.stop('SIGKILL')
  }),
)

/** struct sockaddr_nl */
function netlinkAddress(port: number): Uint8Array<ArrayBuffer> {
  const bytes = allocate(12)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, AF_NETLINK, true)
  view.setUint32(4, port, true)
  return bytes
}

t.test('a socket takes messages from the kernel alone, whatever others send to its port', t =>
  withRouteSocket(t, (_, host) => {
    const container = host.createContainer()
    // The first netlink socket of a process in a namespace has the process's id for its port.
    const ours = openNamespace(container.path)
    const victim = ours.openSocket(NetlinkProtocol.route)
    const other = host.createContainer()
    const send = (namespace: NetworkNamespace): number =>
      withDescriptor(
        inside(namespace, () => libc.socket(AF_NETLINK, SOCK_RAW_CLOEXEC, NetlinkProtocol.route)),
        fd => {
          const to = netlinkAddress(process.pid)
          check(
            () => 'connect',
            () => libc.connect(fd, to, to.length),
          )
          const message = allocate(16)
          new DataView(message.buffer).setUint32(0, 16, true)
          return libc.send(fd, message, message.length, 0) < 0 ? libc.errno() : 0
        },
      )
    t.equal(send(container), Errno.ECONNREFUSED)
    t.equal(getLink(victim, { name: 'lo' })?.name, 'lo')
    victim.close()
    ours.close()
    // A socket that is not connected to the kernel would have taken it.
    const plain = inside(other, () => libc.socket(AF_NETLINK, SOCK_RAW_CLOEXEC, NetlinkProtocol.route))
    const any = netlinkAddress(0)
    libc.bind(plain, any, any.length)
    t.equal(send(other), 0)
    close(plain)
  }),
)

t.test('a socket that is closed stays closed', t =>
  withRouteSocket(t, (_, host) => {
    const socket = inside(host, () => new NetlinkSocket(NetlinkProtocol.route))
    socket.close()
    withDescriptor(rawSocket(host), () => {
      t.throws(() => getLink(socket, { name: 'lo' }), { code: 'EBADF' }, 'although its number is in use again')
      socket.close()
    })
  }),
)
