/** Limits behind a bridge: what the kernel is told, what packets meet, and what is left. */

import t from 'tap'
import {
  type Attachment,
  goPluginDirectory,
  type Host,
  Network,
  type NetworkNamespace,
  withHost,
} from '../harness/index.ts'
import { behind, bridged } from './tuning-fixture.ts'

const MEGABIT = 1_000_000
const RATE = 8 * MEGABIT
/** A quarter of a second's. */
const BURST = 2 * MEGABIT
const limits = { ingressRate: RATE, ingressBurst: BURST, egressRate: RATE, egressBurst: BURST }

function bandwidthNetwork(host: Host, keys: object = limits, pluginDir?: string): Network {
  const config = { type: 'bandwidth', bridge: undefined, isDefaultGateway: undefined, ipam: undefined, ...keys }
  return pluginDir === undefined ? new Network(host, config) : new Network(host, config, pluginDir)
}

/**
 * Token buckets and ifbs of the host, which other snapshots do not show. An empty clsact may stay on the veth until that
 * goes: DEL cannot know whether others have come to use it.
 */
function limitsOn(host: Host): string[] {
  const qdiscs = host.output(['tc', 'qdisc', 'show']).split('\n')
  const ifbs = host.show('link', 'show', 'type', 'ifb').map(({ ifname }) => `ifb ${ifname}`)
  return [...qdiscs.filter(line => line.includes('tbf')), ...ifbs]
}

/** The token buckets' numbers, without the names of links. */
function bucketsOn(host: Host): string[] {
  return host
    .output(['tc', 'qdisc', 'show'])
    .split('\n')
    .filter(line => line.includes('tbf'))
    .map(line => line.replace(/dev \S+/, '').trim())
    .toSorted()
}

const BYTES = 2_000_000

/** Bits per second of one TCP connection, as the receiver saw it. */
async function rateOf(from: NetworkNamespace, to: Attachment, host: Host): Promise<number> {
  const [address = ''] = (to.result.ips ?? []).map(({ address }) => address.split('/')[0])
  const argv = ['iperf3', '-s', '-1', '--forceflush', '-B', address]
  const server = host.start(argv, { inside: to.container })
  await server.says(/Server listening/)
  const report = from.output(['iperf3', '-J', '-n', String(BYTES), '-c', address], { timeoutMs: 60_000 })
  await server.ended
  return JSON.parse(report).end.sum_received.bits_per_second
}

t.test('what a container receives and sends is limited, each way by its own rate, and no other container', t =>
  withHost(t, async host => {
    const network = bridged(host)
    const [main, other] = [network.attach(), network.attach()]
    const limited = behind(main, bandwidthNetwork(host))
    limited.add()
    // The burst passes at once, the rest takes (16 - 2) / 8 s; the receiver's clock may start a little late.
    const most = 1.5 * RATE
    const received = await rateOf(other.container, main, host)
    t.ok(received < most, `received: ${received} bits per second`)
    const sent = await rateOf(main.container, other, host)
    t.ok(sent < most, `sent: ${sent} bits per second`)
    limited.del()
    t.same(limitsOn(host), [])
  }),
)

// Where the burst is a whole number of microseconds: Go rounds to these.
t.test('the kernel is told the same numbers as by the Go plugin', t =>
  withHost(t, host => {
    const network = bridged(host)
    for (const keys of [limits, { ingressRate: 100 * MEGABIT, ingressBurst: 10 * MEGABIT }]) {
      const numbers = [undefined, goPluginDirectory].map(pluginDir => {
        const main = network.attach()
        const limited = behind(main, bandwidthNetwork(host, { ...keys, cniVersion: '1.0.0' }, pluginDir))
        limited.add()
        const buckets = bucketsOn(host)
        limited.del()
        main.del()
        return buckets
      })
      t.not(numbers[0]?.length, 0)
      t.same(numbers[0], numbers[1])
    }
  }),
)

t.test('CHECK finds limits that were changed or removed by hand', t =>
  withHost(t, host => {
    const main = bridged(host).attach()
    const limited = behind(main, bandwidthNetwork(host))
    limited.add()
    const ifb = limited.result.interfaces?.find(({ name }) => name.startsWith('bwp'))?.name ?? ''
    t.equal(limited.check().status, 0)
    host.output([
      'tc',
      'qdisc',
      'change',
      'dev',
      ifb,
      'root',
      'handle',
      '1:',
      'tbf',
      'rate',
      '9mbit',
      'burst',
      '250000',
      'latency',
      '25ms',
    ])
    t.match(limited.check().error, { msg: /1125000 bytes per second, not 1000000/ })
    host.output(['tc', 'qdisc', 'delete', 'dev', main.port, 'root'])
    t.match(limited.check().error, { msg: /is gone/ })
    host.ip(`link del ${ifb}`)
    limited.del()
    t.same(limitsOn(host), [])
  }),
)

t.test('a repeated ADD is refused and the first unharmed; two attachments of a container have limits of their own', t =>
  withHost(t, host => {
    const first = bridged(host).attach()
    const second = bridged(host).attach({ container: first.container, containerId: first.containerId, ifname: 'eth1' })
    const limited = [first, second].map(main => behind(main, bandwidthNetwork(host)))
    for (const one of limited) one.add()
    t.equal(bucketsOn(host).length, 4)
    t.match(limited[0]?.tryAdd().error, { code: 104, msg: /is limited already/ })
    t.equal(limited[0]?.check().status, 0)
    limited[1]?.del()
    t.equal(limited[0]?.check().status, 0)
    t.equal(bucketsOn(host).length, 2)
    limited[0]?.del()
    t.same(limitsOn(host), [])
  }),
)

t.test('DEL succeeds again, without a result, without a namespace, and after the bridge', t =>
  withHost(t, host => {
    const main = bridged(host).attach()
    const limited = behind(main, bandwidthNetwork(host))
    limited.add()
    t.equal(limited.del({ withoutResult: true }).stdout, '')
    t.same(limitsOn(host), [])
    t.equal(limited.del().stdout, '', 'again')
    limited.add()
    main.del()
    t.equal(limited.del({ netns: '' }).stdout, '', 'the veth is gone, the ifb is not')
    t.same(limitsOn(host), [])
  }),
)

t.test('a failure at any step of ADD leaves nothing', t =>
  withHost(t, host => {
    const main = bridged(host).attach()
    const before = limitsOn(host)
    let failing = 1
    for (; failing < 20; failing++) {
      const limited = behind(main, bandwidthNetwork(host), { environment: { CNIKIT_FAIL_STEP: String(failing) } })
      const { status, error } = limited.tryAdd()
      if (status === 0) break
      t.match(error, { code: 199, details: /failed in step/ })
      t.same(limitsOn(host), before, `step ${failing}`)
    }
    t.equal(failing, 5, 'four steps were made to fail')
    t.not(limitsOn(host).length, 0)
  }),
)

const wrong: Readonly<Record<string, { keys: object; says: RegExp }>> = {
  'a rate without a burst': {
    keys: { ingressRate: RATE },
    says: /ingressRate is 8000000, but there is no ingressBurst/,
  },
  'a burst without a rate': {
    keys: { egressBurst: BURST },
    says: /egressBurst is 2000000, but there is no egressRate/,
  },
  'a burst below a packet': {
    keys: { ...limits, egressBurst: 8_000 },
    says: /egressBurst is 1000 bytes, less than a packet/,
  },
  'a negative rate': { keys: { ...limits, ingressRate: -1 }, says: /ingressRate/ },
  'a burst beyond 32 bits': { keys: { ...limits, ingressBurst: 34_359_738_360 }, says: /ingressBurst/ },
  'a rate as text': { keys: { ...limits, egressRate: '8M' }, says: /egressRate/ },
  'a latency of 0': { keys: { ...limits, latency: 0 }, says: /latency/ },
  'subnets to limit': { keys: { ...limits, shapedSubnets: ['10.0.0.0/8'] }, says: /shapedSubnets/ },
}

t.test('bad input is refused with the key, and nothing is changed', t =>
  withHost(t, host => {
    const main = bridged(host).attach()
    for (const [what, { keys, says }] of Object.entries(wrong)) {
      const { status, error } = behind(main, bandwidthNetwork(host, keys)).tryAdd()
      t.not(status, 0, what)
      t.match(`${error?.msg} ${error?.details}`, says, what)
      t.same(limitsOn(host), [], what)
    }
  }),
)
